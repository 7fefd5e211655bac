//! The four events of the shop, declared once: decoding, Parquet, BigQuery and the docs all read from here.

use serde::{Deserialize, Serialize};

/// An event of the shop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A product was looked at.
    Views,
    /// Something was bought.
    Transactions,
    /// A page was visited.
    Traffic,
    /// A customer said something.
    Feedback,
}

/// A field of an event.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Field {
    /// The same in JSON, in Parquet and in BigQuery.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether an event without it is broken.
    pub is_required: bool,
    /// Whether hardly a value comes twice in a file: a dictionary would only cost.
    pub is_unique: bool,
}

/// The most fields of an event.
pub const FIELDS_MAX: usize = 12;

/// What a field holds, and within which bounds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// Text of at most so many characters; not empty.
    Text {
        /// The most characters.
        max_chars: usize,
    },
    /// A whole number.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// A number.
    Float {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// An instant; without a zone it is UTC. Sane: not before [`TIMESTAMP_MIN_MICROS`], and not further ahead of its
    /// ingestion than [`TIMESTAMP_AHEAD_MICROS`].
    Timestamp,
}

/// No event is older than the year 2000: an earlier one is a clock that was never set.
pub const TIMESTAMP_MIN_MICROS: i64 = 946_684_800_000_000;

/// An event may lie a day ahead of its ingestion, for clocks that run ahead and zones that were left out.
pub const TIMESTAMP_AHEAD_MICROS: i64 = 86_400_000_000;

/// What every row carries besides the fields of its event; the first three identify it.
pub const KAFKA_COLUMNS: [&str; 5] =
    ["kafka_topic", "kafka_partition", "kafka_offset", "kafka_timestamp", "ingestion_time"];

const ID: Kind = Kind::Text { max_chars: 256 };
const NAME: Kind = Kind::Text { max_chars: 1_000 };
const PRICE: Kind = Kind::Float { min: 0.0, max: 1e9 };
const COUNT: Kind = Kind::Integer { min: 0, max: i64::MAX };

const fn required(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, is_required: true, is_unique: false }
}

const fn unique(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, is_required: true, is_unique: true }
}

const fn optional(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, is_required: false, is_unique: false }
}

impl Event {
    /// Every event, in the order in which the DAG loads them.
    pub const ALL: [Self; 4] = [Self::Views, Self::Transactions, Self::Traffic, Self::Feedback];

    /// The name of its folder and its tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Views => "views",
            Self::Transactions => "transactions",
            Self::Traffic => "traffic",
            Self::Feedback => "feedback",
        }
    }

    /// Its Kafka topic.
    #[must_use]
    pub const fn topic(self) -> &'static str {
        match self {
            Self::Views => "product_views",
            Self::Transactions => "financial_transactions",
            Self::Traffic => "website_traffic",
            Self::Feedback => "customer_feedback",
        }
    }

    /// The event of a Kafka topic.
    #[must_use]
    pub fn of_topic(topic: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.topic() == topic)
    }

    /// Its fields, in the order of its columns.
    #[must_use]
    pub const fn fields(self) -> &'static [Field] {
        match self {
            Self::Views => &VIEWS,
            Self::Transactions => &TRANSACTIONS,
            Self::Traffic => &TRAFFIC,
            Self::Feedback => &FEEDBACK,
        }
    }

    /// When it happened: which of its fields says so.
    #[must_use]
    pub fn time_field(self) -> usize {
        self.fields().iter().position(|field| field.kind == Kind::Timestamp).unwrap_or_default()
    }

    /// What its native table is clustered by.
    #[must_use]
    pub const fn clustering(self) -> &'static [&'static str] {
        match self {
            Self::Views | Self::Feedback => &["productId"],
            Self::Transactions => &["customerId", "productId"],
            Self::Traffic => &["pageUrl"],
        }
    }

    /// Every column of its tables: its fields, then where each row came from.
    pub fn columns(self) -> impl Iterator<Item = &'static str> {
        self.fields().iter().map(|field| field.name).chain(KAFKA_COLUMNS)
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name())
    }
}

static VIEWS: [Field; 3] =
    [required("productId", ID), required("viewCount", COUNT), unique("lastViewed", Kind::Timestamp)];

static TRANSACTIONS: [Field; 12] = [
    unique("transactionId", ID),
    required("productId", ID),
    optional("productName", NAME),
    optional("productCategory", NAME),
    required("productPrice", PRICE),
    required("productQuantity", Kind::Integer { min: 1, max: 1_000_000 }),
    optional("productBrand", NAME),
    required("currency", Kind::Text { max_chars: 3 }),
    unique("customerId", ID),
    unique("transactionDate", Kind::Timestamp),
    optional("paymentMethod", NAME),
    required("totalAmount", Kind::Float { min: 0.0, max: 1e15 }),
];

static TRAFFIC: [Field; 3] =
    [required("pageUrl", NAME), required("visitCount", COUNT), unique("lastVisit", Kind::Timestamp)];

static FEEDBACK: [Field; 6] = [
    unique("feedbackId", ID),
    unique("customerId", ID),
    required("productId", ID),
    required("rating", Kind::Integer { min: 1, max: 5 }),
    optional("comment", NAME),
    unique("feedbackDate", Kind::Timestamp),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What `BigQuery` refuses as the beginning of a column name, in any case.
    const REFUSED: [&str; 4] = ["_PARTITION", "_TABLE_", "_FILE_", "_ROW_TIMESTAMP"];

    #[test]
    fn every_column_is_one_that_bigquery_takes_and_none_stands_twice() {
        for event in Event::ALL {
            let columns: Vec<_> = event.columns().map(str::to_uppercase).collect();
            for column in &columns {
                assert!(!REFUSED.iter().any(|refused| column.starts_with(refused)), "{event}: {column}");
                assert_eq!(columns.iter().filter(|other| *other == column).count(), 1, "{event}: {column}");
                // The hive columns of the path must not repeat as columns of the files.
                assert!(!["YEAR", "MONTH", "DAY", "HOUR"].contains(&column.as_str()), "{event}: {column}");
            }
        }
    }

    #[test]
    fn every_event_says_when_it_happened_and_fits() {
        for event in Event::ALL {
            assert!(event.fields().len() <= FIELDS_MAX, "{event}");
            assert_eq!(event.fields()[event.time_field()].kind, Kind::Timestamp, "{event}");
        }
    }

    #[test]
    fn topics_and_events_belong_to_each_other() {
        assert!(Event::ALL.into_iter().all(|event| Event::of_topic(event.topic()) == Some(event)));
        assert_eq!(Event::of_topic("something_else"), None);
    }
}
