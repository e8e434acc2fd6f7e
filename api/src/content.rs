//! A job's result as an answer: bytes that a stranger's program made, of the type that it named, so that a browser
//! shows them without running them.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use queue::{JobId, JobResult};
use ring::digest::{Context, SHA256};

use crate::hex;

/// What a browser is asked to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Show it if nothing in it can run, else save it.
    Show,
    /// Save it.
    Save,
}

/// What a browser can show and never runs. HTML, SVG and PDF are absent on purpose: scripts live in them.
const INERT: [&str; 6] = [
    "application/json",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "text/plain",
];

/// For what is shown all the same, or by another way: no script, no form, no request, an origin of its own. Styles
/// because browsers frame an image with their own.
const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");

/// The ends of file names by type. What is not here is `.bin`.
const EXTENSIONS: [(&str, &str); 17] = [
    ("application/gzip", "gz"),
    ("application/json", "json"),
    ("application/pdf", "pdf"),
    ("application/xml", "xml"),
    ("application/yaml", "yaml"),
    ("application/zip", "zip"),
    ("audio/mpeg", "mp3"),
    ("image/gif", "gif"),
    ("image/jpeg", "jpg"),
    ("image/png", "png"),
    ("image/svg+xml", "svg"),
    ("image/webp", "webp"),
    ("text/csv", "csv"),
    ("text/html", "html"),
    ("text/markdown", "md"),
    ("text/plain", "txt"),
    ("video/mp4", "mp4"),
];

/// Ids of foreign programs can be longer than file systems take a name.
const MAX_NAME_CHARACTERS: usize = 100;

/// The whole result; or 304 if the client says by `If-None-Match` that it has this very one.
pub(crate) fn answer(id: &JobId, result: JobResult, disposition: Disposition, asked: &HeaderMap) -> Response {
    let tag = tag(&result);
    let mut response = if is_known(&tag, asked) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        whole(id, result, disposition)
    };
    let headers = response.headers_mut();
    set(headers, header::ETAG, tag);
    // A job that somebody sets back to submitted may give another one.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn whole(id: &JobId, result: JobResult, disposition: Disposition) -> Response {
    let essence = essence(result.content_type());
    let how = match disposition {
        Disposition::Show if INERT.contains(&essence.as_str()) => "inline",
        Disposition::Show | Disposition::Save => "attachment",
    };
    let file = format!("{how}; filename=\"{}\"", file_name(id, &essence));
    let (content_type, body) = result.into_parts();
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    set(headers, header::CONTENT_TYPE, content_type);
    set(headers, header::CONTENT_DISPOSITION, file);
    // The type is what it is said to be: text that looks like HTML stays text.
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// Sets what is known to be printable ASCII.
fn set(headers: &mut HeaderMap, name: HeaderName, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

/// The type without its parameters.
fn essence(content_type: &str) -> String {
    content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// The job's id as far as it is safe in a header and on every file system, and the end that its type has.
fn file_name(id: &JobId, essence: &str) -> String {
    let safe = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => character,
        _ => '_',
    };
    let name: String = id.as_str().chars().take(MAX_NAME_CHARACTERS).map(safe).collect();
    let end = EXTENSIONS
        .iter()
        .find_map(|(of, end)| (*of == essence).then_some(*end))
        .unwrap_or("bin");
    format!("{name}.{end}")
}

/// A strong validator: a hash of type and bytes.
fn tag(result: &JobResult) -> String {
    let mut hash = Context::new(&SHA256);
    hash.update(result.content_type().as_bytes());
    // No type holds a newline: it tells where the bytes begin.
    hash.update(b"\n");
    hash.update(result.body());
    format!("\"{}\"", hex::print(&hash.finish().as_ref()[..16]))
}

/// Whether `If-None-Match` names it, compared weakly (RFC 9110 section 13.1.2).
fn is_known(tag: &str, asked: &HeaderMap) -> bool {
    asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(id: &str, content_type: &str) -> String {
        file_name(&JobId::new(id).unwrap(), &essence(content_type))
    }

    #[test]
    fn file_is_named_after_the_job_and_its_type() {
        assert_eq!(name("42", "image/png"), "42.png");
        assert_eq!(name("42", "Text/Plain; charset=utf-8"), "42.txt");
        assert_eq!(name("42", "application/x-stranger"), "42.bin");
    }

    #[test]
    fn no_id_breaks_out_of_the_header_or_the_folder() {
        assert_eq!(
            name("../../etc/\"a\\b\"; x=é", "text/html"),
            "______etc__a_b___x__.html"
        );
        assert_eq!(name(&"x".repeat(512), "image/gif").len(), 104);
    }

    #[test]
    fn known_result_is_recognised_in_any_spelling_of_its_tag() {
        let asked = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(text));
            is_known("\"ab\"", &headers)
        };
        assert!(asked("\"ab\"") && asked("W/\"ab\"") && asked("\"x\", \"ab\"") && asked("*"));
        assert!(!asked("\"x\"") && !asked("ab"));
        assert!(!is_known("\"ab\"", &HeaderMap::new()));
    }

    #[test]
    fn tags_differ_where_type_or_bytes_do() {
        let tag = |content_type: &str, body: &[u8]| tag(&JobResult::new(content_type, body).unwrap());
        assert_eq!(tag("a/b", b"c"), tag("a/b", b"c"));
        assert_ne!(tag("a/b", b"c"), tag("a/bc", b""));
        assert_ne!(tag("a/b", b"c"), tag("a/b", b"d"));
    }
}
