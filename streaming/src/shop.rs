//! The simulated shop: the events, with the fields and the values of the system that this one replaces.

use chrono::Utc;
use lake::Event;
use rand::{RngExt, seq::IndexedRandom};
use serde_json::{Value, json};
use uuid::Uuid;

const PRODUCTS: [&str; 6] = ["product1", "product2", "product3", "product4", "product5", "product6"];
const NAMES: [&str; 6] = ["laptop", "mobile", "tablet", "watch", "headphone", "speaker"];
const CATEGORIES: [&str; 6] = ["electronic", "fashion", "grocery", "home", "beauty", "sports"];
const BRANDS: [&str; 6] = ["apple", "samsung", "oneplus", "mi", "boat", "sony"];
const CURRENCIES: [&str; 2] = ["USD", "GBP"];
const PAYMENTS: [&str; 3] = ["credit_card", "debit_card", "online_transfer"];
const PAGES: [&str; 6] = ["/home", "/products", "/cart", "/checkout", "/contact", "/about"];
const WORDS: [&str; 12] =
    ["great", "product", "would", "buy", "again", "arrived", "late", "but", "works", "well", "the", "box"];

/// A message that is ready to be sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
}

/// An event as the shop writes it.
pub fn valid(event: Event, rng: &mut impl RngExt) -> Message {
    let (key, value) = fields(event, rng);
    Message { key, value: value.to_string().into_bytes() }
}

/// An event that is broken in one of the ways that occur.
pub fn invalid(event: Event, rng: &mut impl RngExt) -> Message {
    let (key, mut value) = fields(event, rng);
    let required: Vec<_> = event.fields().iter().filter(|field| field.is_required).collect();
    let field = required.choose(rng).map_or("", |field| field.name);
    let text = match rng.random_range(0..4) {
        // Cut off in the middle.
        0 => {
            let whole = value.to_string();
            whole[..whole.len() / 2].to_owned()
        }
        1 => {
            value[field] = Value::Null;
            value.to_string()
        }
        2 => {
            value[field] = json!({ "unexpected": true });
            value.to_string()
        }
        _ => {
            value.as_object_mut().map(|object| object.remove(field));
            value.to_string()
        }
    };
    Message { key, value: text.into_bytes() }
}

fn fields(event: Event, rng: &mut impl RngExt) -> (String, Value) {
    // UTC without a zone, as the shop has always written it.
    let now = Utc::now().format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
    let product = pick(&PRODUCTS, rng);
    match event {
        Event::Views => (
            product.to_owned(),
            json!({ "productId": product, "viewCount": rng.random_range(1..=100), "lastViewed": now }),
        ),
        Event::Traffic => {
            let page = pick(&PAGES, rng);
            (page.to_owned(), json!({ "pageUrl": page, "visitCount": rng.random_range(1..=1_000), "lastVisit": now }))
        }
        Event::Feedback => {
            let id = uuid(rng);
            let comment: Vec<_> = (0..rng.random_range(3..25)).map(|_| pick(&WORDS, rng)).collect();
            let value = json!({
                "feedbackId": id, "customerId": uuid(rng), "productId": product,
                "rating": rng.random_range(1..=5), "comment": comment.join(" "), "feedbackDate": now,
            });
            (id, value)
        }
        Event::Transactions => {
            let id = uuid(rng);
            let cents = rng.random_range(1_000..=100_000_i64);
            let quantity = rng.random_range(1..=10_i64);
            let value = json!({
                "transactionId": id, "productId": product, "productName": pick(&NAMES, rng),
                "productCategory": pick(&CATEGORIES, rng), "productPrice": cents as f64 / 100.0,
                "productQuantity": quantity, "productBrand": pick(&BRANDS, rng), "currency": pick(&CURRENCIES, rng),
                "customerId": uuid(rng), "transactionDate": now, "paymentMethod": pick(&PAYMENTS, rng),
                // In cents first: the product of two floats has rounding noise.
                "totalAmount": (cents * quantity) as f64 / 100.0,
            });
            (id, value)
        }
    }
}

fn pick<'v>(values: &[&'v str], rng: &mut impl RngExt) -> &'v str {
    values.choose(rng).copied().unwrap_or_default()
}

fn uuid(rng: &mut impl RngExt) -> String {
    uuid::Builder::from_random_bytes(rng.random())
        .into_uuid()
        .hyphenated()
        .encode_lower(&mut Uuid::encode_buffer())
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Decoder;

    fn is_valid(event: Event, message: &Message) -> bool {
        Decoder::new(event).decode(&message.value, Utc::now(), |decoded| decoded.is_ok())
    }

    #[test]
    fn what_the_shop_writes_is_valid_and_what_it_breaks_is_not() {
        let mut rng = rand::rng();
        for event in Event::ALL {
            for _ in 0..200 {
                let good = valid(event, &mut rng);
                assert!(is_valid(event, &good), "{}", String::from_utf8_lossy(&good.value));
                let bad = invalid(event, &mut rng);
                assert!(!is_valid(event, &bad), "{}", String::from_utf8_lossy(&bad.value));
            }
        }
    }
}
