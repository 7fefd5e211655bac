//! Light or dark: as the viewer's system has it, until they choose. A cookie remembers it.

use axum::{
    Form,
    extract::Request,
    http::{HeaderMap, HeaderValue, Uri, header},
    middleware::Next,
    response::{AppendHeaders, IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::links;
use crate::auth::cookie_of;

/// The colours of the pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Theme {
    #[default]
    System,
    Light,
    Dark,
}

const COOKIE: &str = "theme";

/// A year, in seconds.
const REMEMBERED: i64 = 31_536_000;

tokio::task_local! {
    static THEME: Theme;
}

impl Theme {
    const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    /// As a cookie and a style sheet name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// What a press on the button leads to.
    pub(crate) fn next(self) -> Self {
        match self {
            Self::System => Self::Dark,
            Self::Dark => Self::Light,
            Self::Light => Self::System,
        }
    }

    /// What the button shows.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::System => "◐",
            Self::Light => "☀",
            Self::Dark => "☾",
        }
    }

    fn of(headers: &HeaderMap) -> Self {
        let named = cookie_of(headers, COOKIE);
        Self::ALL.into_iter().find(|theme| named == Some(theme.name())).unwrap_or_default()
    }
}

/// Lets the page of this request be in the colours that were chosen.
pub(crate) async fn hear(request: Request, next: Next) -> Response {
    let theme = Theme::of(request.headers());
    THEME.scope(theme, next.run(request)).await
}

/// The colours of the page that is made.
pub(crate) fn now() -> Theme {
    THEME.try_with(|theme| *theme).unwrap_or_default()
}

#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    theme: Theme,
}

/// Remembers the colours, and goes back to the page on which they were chosen.
pub(crate) async fn choose(headers: HeaderMap, Form(Wanted { theme }): Form<Wanted>) -> impl IntoResponse {
    let name = theme.name();
    let cookie = format!("{COOKIE}={name}; Path=/; Max-Age={REMEMBERED}; SameSite=Lax; HttpOnly");
    let back = headers.get(header::REFERER).and_then(page);
    (AppendHeaders([(header::SET_COOKIE, cookie)]), Redirect::to(&back.unwrap_or_else(|| "/".to_owned())))
}

/// The path of an address.
fn page(address: &HeaderValue) -> Option<String> {
    let address: Uri = address.to_str().ok()?.parse().ok()?;
    address.path_and_query().map(|path| links::local(path.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_is_remembered_and_anything_else_is_the_systems() {
        let theme = |cookie: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, cookie.parse().unwrap());
            Theme::of(&headers)
        };
        assert_eq!(theme("session=x; theme=dark"), Theme::Dark);
        assert_eq!(theme("theme=light"), Theme::Light);
        assert_eq!((theme("theme=\"><b>"), theme("other=1")), (Theme::System, Theme::System));
        let round = |theme: Theme| theme.next().next().next();
        assert!(Theme::ALL.into_iter().all(|theme| round(theme) == theme && theme.next() != theme));
    }

    #[test]
    fn it_goes_back_to_a_page_of_ours() {
        let page = |address: &'static str| page(&HeaderValue::from_static(address));
        assert_eq!(page("http://localhost:8080/dags?q=a").as_deref(), Some("/dags?q=a"));
        assert_eq!(page("https://evil.example//other.example").as_deref(), Some("/dags"));
    }
}
