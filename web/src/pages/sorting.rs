//! Tables that are ordered by a press on a heading: the order is in the address (`?order=-duration`), as in the API.

use orchestrator::store::pages::select::Direction;

/// The heading of a column.
pub(crate) struct Heading {
    pub(crate) name: &'static str,
    /// What `order` is after a press.
    pub(crate) next: String,
    /// `aria-sort`.
    pub(crate) now: &'static str,
    /// What a sighted person sees of it.
    pub(crate) sign: &'static str,
}

/// The order that is asked for: a column, and which way.
pub(crate) fn read<C: Copy>(order: &str, known: &[(&str, C)]) -> Option<(C, Direction)> {
    let (name, direction) = match order.strip_prefix('-') {
        Some(name) => (name, Direction::Descending),
        None => (order, Direction::Ascending),
    };
    known.iter().find(|(known, _)| *known == name).map(|(_, column)| (*column, direction))
}

/// The heading of the column `key`, which is ordered that way by the first press.
pub(crate) fn heading(name: &'static str, key: &str, first: Direction, order: &str) -> Heading {
    let (up, down) = (key.to_owned(), format!("-{key}"));
    let (now, sign) = match order {
        order if order == up => ("ascending", " ↑"),
        order if order == down => ("descending", " ↓"),
        _ => ("none", " ↕"),
    };
    let next = match (now, first) {
        ("ascending", _) => down,
        ("descending", _) => up,
        (_, Direction::Descending) => down,
        (_, Direction::Ascending) => up,
    };
    Heading { name, next, now, sign }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_press_orders_and_the_next_one_turns_it_around() {
        let next = |order| heading("Duration", "duration", Direction::Descending, order).next;
        assert_eq!(
            (next(""), next("-duration"), next("duration")),
            ("-duration".into(), "duration".into(), "-duration".into())
        );
        assert_eq!(heading("DAG", "dag", Direction::Ascending, "").next, "dag");
        assert_eq!(heading("DAG", "dag", Direction::Ascending, "-dag").now, "descending");
        let known = [("dag", 1), ("duration", 2)];
        assert_eq!(read("-duration", &known), Some((2, Direction::Descending)));
        assert_eq!(
            (read("dag", &known), read("", &known), read("-;--", &known)),
            (Some((1, Direction::Ascending)), None, None)
        );
    }
}
