//! Rust in colours.

use std::sync::LazyLock;

use tree_sitter_highlight::{HighlightConfiguration, HighlightEvent, Highlighter};

/// What is told apart, as the queries of the grammar name it, and the class of it; what is named more narrowly, as the
/// widest of these that fits.
const KINDS: [(&str, &str); 14] = [
    ("attribute", "hl-attribute"),
    ("comment", "hl-comment"),
    ("constant", "hl-number"),
    ("constructor", "hl-type"),
    ("escape", "hl-escape"),
    ("function", "hl-function"),
    ("function.macro", "hl-keyword"),
    ("keyword", "hl-keyword"),
    ("label", "hl-escape"),
    ("number", "hl-number"),
    ("string", "hl-string"),
    ("type", "hl-type"),
    ("type.builtin", "hl-type"),
    ("variable.builtin", "hl-keyword"),
];

static RUST: LazyLock<Option<HighlightConfiguration>> = LazyLock::new(|| {
    let (highlights, injections) = (tree_sitter_rust::HIGHLIGHTS_QUERY, tree_sitter_rust::INJECTIONS_QUERY);
    let mut rust =
        HighlightConfiguration::new(tree_sitter_rust::LANGUAGE.into(), "rust", highlights, injections, "").ok()?;
    rust.configure(&KINDS.map(|(name, _)| name));
    Some(rust)
});

/// A piece of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    /// Its class; empty if it is nothing special.
    pub(super) class: &'static str,
    pub(super) text: String,
}

/// The lines of a source in pieces. One that is no Rust is shown all the same.
pub(super) fn lines(source: &str) -> Vec<Vec<Piece>> {
    let mut lines = vec![Vec::new()];
    for (class, text) in pieces(source).unwrap_or_else(|| vec![("", source)]) {
        for (at, text) in text.split('\n').enumerate() {
            if at > 0 {
                lines.push(Vec::new());
            }
            if let (Some(line), false) = (lines.last_mut(), text.is_empty()) {
                line.push(Piece { class, text: text.to_owned() });
            }
        }
    }
    // What ends with a line break has no line after it.
    if lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    lines
}

fn pieces(source: &str) -> Option<Vec<(&'static str, &str)>> {
    let rust = RUST.as_ref()?;
    let mut highlighter = Highlighter::new();
    // The arguments of macros are Rust in Rust.
    let injected = |language: &str| (language == "rust").then_some(rust);
    let events = highlighter.highlight(rust, source.as_bytes(), None, None, injected).ok()?;
    let (mut pieces, mut within) = (Vec::new(), Vec::new());
    for event in events {
        match event.ok()? {
            HighlightEvent::HighlightStart(kind) => within.push(KINDS.get(kind.0).map_or("", |(_, class)| class)),
            HighlightEvent::HighlightEnd => drop(within.pop()),
            HighlightEvent::Source { start, end } => {
                pieces.push((within.last().copied().unwrap_or_default(), source.get(start..end)?));
            }
        }
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(lines: &[Vec<Piece>]) -> Vec<String> {
        lines.iter().map(|line| line.iter().map(|piece| piece.text.as_str()).collect()).collect()
    }

    #[test]
    fn words_have_their_colours() {
        let source = "/// Says.\nfn say(n: u32) -> Text {\n    tracing::info!(\"{n} < 3\");\n}\n";
        let lines = lines(source);
        assert_eq!(text(&lines), source.lines().collect::<Vec<_>>());
        let class = |line: usize, text: &str| {
            let found = lines[line].iter().find(|piece| piece.text.trim() == text);
            found.unwrap_or_else(|| panic!("no {text} in {:?}", lines[line])).class
        };
        assert_eq!(class(0, "/// Says."), "hl-comment");
        assert_eq!((class(1, "fn"), class(1, "say")), ("hl-keyword", "hl-function"));
        assert_eq!((class(1, "u32"), class(1, "Text")), ("hl-type", "hl-type"));
        assert_eq!(class(2, "\"{n} < 3\""), "hl-string");
    }

    proptest! {
        #[test]
        fn whatever_it_is_it_is_shown_whole(source in "(?s)(fn |\"|'|\\{|\\}|//|/\\*|\n|é|r#|\r\n|[ -~]){0,60}") {
            let shown = text(&lines(&source));
            let mut expected: Vec<_> = source.split('\n').map(str::to_owned).collect();
            if expected.last().is_some_and(String::is_empty) {
                expected.pop();
            }
            prop_assert_eq!(shown, expected);
        }
    }
}
