//! The style sheet and the scripts, embedded.

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

const FILES: [(&str, &str, &str); 6] = [
    ("style.css", CSS, include_str!("../../assets/style.css")),
    ("page.js", JS, include_str!("../../assets/page.js")),
    ("grid.js", JS, include_str!("../../assets/grid.js")),
    ("graph.js", JS, include_str!("../../assets/graph.js")),
    ("log.js", JS, include_str!("../../assets/log.js")),
    ("idiomorph.js", JS, include_str!("../../assets/vendor/idiomorph.min.js")),
];

pub(crate) async fn show(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => ([(header::CONTENT_TYPE, *kind)], *text).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
