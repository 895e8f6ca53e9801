//! The page: a form for questions and a place for answers, for people with a browser.
//!
//! It holds no data, so everybody may have it. Whatever it shows it asks for by the same routes as every other caller, and
//! with a key where one is needed. Its files are part of the program and load nothing from anywhere else.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const ICON: &str = "image/svg+xml";

/// Path, kind and content of each file. Addresses inside of them are relative, so that a proxy may put the page anywhere.
const FILES: [(&str, &str, &str); 21] = [
    ("/", HTML, include_str!("index.html")),
    ("/page/page.css", CSS, include_str!("page.css")),
    ("/page/icon.svg", ICON, include_str!("icon.svg")),
    ("/page/page.js", SCRIPT, include_str!("page.js")),
    ("/page/account.js", SCRIPT, include_str!("account.js")),
    ("/page/answers.js", SCRIPT, include_str!("answers.js")),
    ("/page/api.js", SCRIPT, include_str!("api.js")),
    ("/page/asking.js", SCRIPT, include_str!("asking.js")),
    ("/page/column.js", SCRIPT, include_str!("column.js")),
    ("/page/connection.js", SCRIPT, include_str!("connection.js")),
    ("/page/differences.js", SCRIPT, include_str!("differences.js")),
    ("/page/elements.js", SCRIPT, include_str!("elements.js")),
    ("/page/fault.js", SCRIPT, include_str!("fault.js")),
    ("/page/history.js", SCRIPT, include_str!("history.js")),
    ("/page/images.js", SCRIPT, include_str!("images.js")),
    ("/page/key.js", SCRIPT, include_str!("key.js")),
    ("/page/models.js", SCRIPT, include_str!("models.js")),
    ("/page/question.js", SCRIPT, include_str!("question.js")),
    ("/page/settings.js", SCRIPT, include_str!("settings.js")),
    ("/page/status.js", SCRIPT, include_str!("status.js")),
    ("/page/thumbnail.js", SCRIPT, include_str!("thumbnail.js")),
];

/// Its own files and this server, and nothing that a model or a file name could smuggle in: no inline scripts or styles, no
/// forms that send, no frames in either direction, and no way from text to markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'; require-trusted-types-for 'script'";

const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    // A new version of the program is a new page; an old one costs a question and no bytes.
    (CACHE_CONTROL, "no-cache"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

pub(super) fn routes() -> Router {
    FILES.iter().fold(Router::new(), |router, (path, kind, content)| {
        let tag: Arc<str> = format!("\"{}\"", &blake3::hash(content.as_bytes()).to_hex()[..32]).into();
        router.route(path, get(async move |headers: HeaderMap| file(&headers, kind, content, &tag)))
    })
}

fn file(asked: &HeaderMap, kind: &'static str, content: &'static str, tag: &str) -> Response {
    let mut response = if is_known(asked, tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, kind)], content).into_response()
    };
    let headers = response.headers_mut();
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    headers.extend(HeaderValue::try_from(tag).map(|tag| (ETAG, tag)));
    response
}

/// Whether the browser has this very content already.
fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let tags =
        asked.get_all(IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok()).flat_map(|tags| tags.split(','));
    tags.map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}
