use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn now() -> DateTime<Utc> {
    "2026-11-22T13:00:00Z".parse().unwrap()
}

fn code(event: Event, json: &str) -> Option<Code> {
    Decoder::new(event).decode(json.as_bytes(), now(), |decoded| decoded.err().map(|broken| broken.code))
}

#[test]
fn a_view_becomes_its_cells() {
    let json = r#"{"productId":"product1","viewCount":7,"lastViewed":"2026-11-22T12:00:00.123456","extra":1}"#;
    let instant = "2026-11-22T12:00:00.123456Z".parse::<DateTime<Utc>>().unwrap().timestamp_micros();
    let expected = [Cell::Text("product1"), Cell::Integer(7), Cell::Timestamp(instant), Cell::Null];
    Decoder::new(Event::Views)
        .decode(json.as_bytes(), now(), |decoded| assert_eq!(decoded.unwrap()[..expected.len()], expected));
}

#[test]
fn what_is_wrong_has_its_code() {
    let view = |fields: &str| {
        format!("{{\"productId\":\"p\",\"viewCount\":1,\"lastViewed\":\"2026-11-22T12:00:00\"{fields}}}")
    };
    let deep = format!("{{\"extra\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let table = [
        (view(""), None),
        ("{".to_owned(), Some(Code::MalformedJson)),
        ("[1]".to_owned(), Some(Code::MalformedJson)),
        ("7".to_owned(), Some(Code::MalformedJson)),
        ("NaN".to_owned(), Some(Code::MalformedJson)),
        (String::new(), Some(Code::MalformedJson)),
        (view("").repeat(2), Some(Code::MalformedJson)),
        (deep, Some(Code::MalformedJson)),
        (r#"{"viewCount":1,"lastViewed":"2026-11-22T12:00:00"}"#.to_owned(), Some(Code::MissingField)),
        (view(r#","productId":null"#), Some(Code::MissingField)),
        (view(r#","productId":5"#), Some(Code::WrongType)),
        (view(r#","productId":"""#), Some(Code::OutOfRange)),
        (view(&format!(r#","productId":"{}""#, "é".repeat(256))), None),
        (view(&format!(r#","productId":"{}""#, "é".repeat(257))), Some(Code::OutOfRange)),
        (view(r#","productId":"\u0000""#), None),
        (view(r#","viewCount":-1"#), Some(Code::OutOfRange)),
        (view(r#","viewCount":1.5"#), Some(Code::WrongType)),
        (view(r#","viewCount":NaN"#), Some(Code::MalformedJson)),
        (view(r#","viewCount":9223372036854775807"#), None),
        (view(r#","viewCount":9223372036854775808"#), Some(Code::WrongType)),
        (view(r#","viewCount":123456789012345678901234567890"#), Some(Code::WrongType)),
        (view(r#","viewCount":"7""#), Some(Code::WrongType)),
        (view(r#","viewCount":{"a":[1,{"b":2}]},"viewCount":2"#), None),
        (view(r#","lastViewed":"yesterday""#), Some(Code::BadTimestamp)),
        (view(r#","lastViewed":"1970-01-01T00:00:00""#), Some(Code::BadTimestamp)),
        (view(r#","lastViewed":"9999-12-31T23:59:59""#), Some(Code::BadTimestamp)),
        (view(r#","lastViewed":"2026-02-30T00:00:00""#), Some(Code::BadTimestamp)),
        (view(r#","lastViewed":"2026-11-24T12:00:00""#), Some(Code::BadTimestamp)),
        (view(r#","lastViewed":"2026-11-22T14:00:00+02:00""#), None),
    ];
    for (json, expected) in table {
        assert_eq!(code(Event::Views, &json), expected, "{}", json.chars().take(200).collect::<String>());
    }
    let not_utf8 = b"{\"productId\":\"\xff\",\"viewCount\":1,\"lastViewed\":\"2026-11-22T12:00:00\"}";
    Decoder::new(Event::Views).decode(not_utf8, now(), |decoded| {
        assert_eq!(decoded.unwrap_err().code, Code::MalformedJson);
    });
}

#[test]
fn an_optional_field_may_be_absent_and_a_rating_has_five_steps() {
    let feedback = |rating: i64| {
        format!(
            r#"{{"feedbackId":"f","customerId":"c","productId":"p","rating":{rating},"feedbackDate":"2026-11-22T12:00:00Z"}}"#
        )
    };
    assert_eq!(code(Event::Feedback, &feedback(5)), None);
    assert_eq!(code(Event::Feedback, &feedback(6)), Some(Code::OutOfRange));
}

/// Values that a field may hold, most of them wrong.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0_i64..10).prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        (0.0..1_000.0).prop_map(|number: f64| json!(number)),
        any::<String>().prop_map(Value::from),
        Just(json!("2026-11-22T12:00:00.25")),
        Just(json!({ "productId": ["nested", { "rating": 1 }] })),
    ]
}

/// As a writer would make it, with some fields missing, some odd, and some in another order.
fn record(event: Event) -> impl Strategy<Value = String> {
    let names: Vec<_> = event.fields().iter().map(|field| field.name).chain(["extra"]).collect();
    prop::collection::vec((prop::sample::select(names), value()), 0..20).prop_map(move |odd| {
        let mut message: Value = serde_json::from_slice(&crate::shop::valid(event, &mut rand::rng()).value).unwrap();
        for (name, value) in odd.iter().take(odd.len() % 4) {
            message[*name] = value.clone();
        }
        let written = message.to_string();
        let twice = odd.iter().skip(18).map(|(name, value)| format!(",\"{name}\":{value}"));
        format!("{}{}}}", &written[..written.len() - 1], twice.collect::<String>())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_decoders_say_the_same((event, json) in prop::sample::select(Event::ALL.to_vec()).prop_flat_map(|event| (Just(event), record(event)))) {
        let owned = |decoded: Result<&Cells<'_>, Broken>| decoded.map(|cells| format!("{cells:?}"));
        let now = Utc::now();
        let together = Decoder::new(event).decode(json.as_bytes(), now, owned);
        let strict = strict::decode(event, json.as_bytes(), now, owned);
        prop_assert_eq!(together, strict, "{}", json);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for event in Event::ALL {
            Decoder::new(event).decode(&bytes, now(), |decoded| decoded.is_ok());
        }
    }

    #[test]
    fn nor_do_records_that_are_cut_or_changed(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        for event in Event::ALL {
            let mut bytes = crate::shop::valid(event, &mut rand::rng()).value;
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(if cut { at } else { bytes.len() });
            Decoder::new(event).decode(&bytes, now(), |decoded| decoded.is_ok());
        }
    }

    #[test]
    fn zones_do_not_change_the_instant(micros in 946_684_800_000_000_i64..4_000_000_000_000_000, hours in -12_i32..12) {
        let utc = DateTime::from_timestamp_micros(micros).unwrap();
        let naive = utc.format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
        prop_assert_eq!(timestamp_micros(&naive), Some(micros));
        let there = utc.with_timezone(&chrono::FixedOffset::east_opt(hours * 3600).unwrap());
        prop_assert_eq!(timestamp_micros(&there.to_rfc3339()), Some(micros));
    }
}
