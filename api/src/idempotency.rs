//! `Idempotency-Key`: the same request again makes no second job.
//!
//! The header is that of draft-ietf-httpapi-idempotency-key-header-07, where it is a String of RFC 8941 (quoted).
//! Most clients send the bare key, as Stripe taught them: both are taken, and mean the same.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use queue::Payload;
use ring::digest::{Context, SHA256};

use crate::{error::Problem, hex, python_json::Scalar};

/// The header's name.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest key, in bytes: as at Stripe.
pub(crate) const MAX_KEY_BYTES: usize = 255;

/// Why a header holds no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidKey {
    #[error("the header Idempotency-Key is there more than once")]
    Repeated,
    #[error("the header Idempotency-Key is empty")]
    Empty,
    #[error("the header Idempotency-Key is longer than {MAX_KEY_BYTES} bytes")]
    TooLong,
    #[error(
        "the header Idempotency-Key must be one string of printable ASCII, in quotes or without spaces, quotes and commas"
    )]
    Malformed,
}

impl From<InvalidKey> for Problem {
    fn from(invalid: InvalidKey) -> Self {
        Self::bad_field("Idempotency-Key", invalid.to_string())
    }
}

/// 422: the key stands for another request.
pub(crate) fn reused() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "this Idempotency-Key came with another job before; a new job needs a new key",
    )
    .at("Idempotency-Key")
}

/// The request's key, if it has one.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<Cow<'_, str>>, InvalidKey> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(InvalidKey::Repeated);
    }
    read(value).map(Some)
}

fn read(value: &HeaderValue) -> Result<Cow<'_, str>, InvalidKey> {
    // `to_str` refuses all but printable ASCII and tabs.
    let text = value.to_str().map_err(|_| InvalidKey::Malformed)?.trim();
    let key = match text.strip_prefix('"') {
        Some(rest) => unquoted(rest)?,
        None if text.contains([' ', '\t', '"', ',']) => return Err(InvalidKey::Malformed),
        None => Cow::Borrowed(text),
    };
    match key.len() {
        0 => Err(InvalidKey::Empty),
        1..=MAX_KEY_BYTES => Ok(key),
        _ => Err(InvalidKey::TooLong),
    }
}

/// The String of RFC 8941 section 3.3.3 whose opening quote was read already. Parameters after it are refused: the
/// draft defines none.
fn unquoted(rest: &str) -> Result<Cow<'_, str>, InvalidKey> {
    let inside = rest.strip_suffix('"').ok_or(InvalidKey::Malformed)?;
    if inside.contains('\t') {
        return Err(InvalidKey::Malformed);
    }
    if !inside.contains(['"', '\\']) {
        return Ok(Cow::Borrowed(inside));
    }
    let mut key = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return Err(InvalidKey::Malformed),
            '\\' => match characters.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                _ => return Err(InvalidKey::Malformed),
            },
            other => key.push(other),
        }
    }
    Ok(Cow::Owned(key))
}

/// Tells one job from another: a hash of both values as the answer prints them, and of the payload as it was sent. So
/// whatever a repeated request looks like, the same fingerprint means the same answer, to the byte (`1` and `"1"` are
/// stored alike, but answered differently).
pub(crate) fn fingerprint(start: &Scalar<'_>, end: &Scalar<'_>, payload: Option<&Payload>) -> String {
    let mut printed = String::new();
    start.dump(&mut printed);
    // Printed values are printable ASCII: nothing but this tells where one ends.
    printed.push('\n');
    end.dump(&mut printed);
    if let Some(payload) = payload {
        printed.push('\n');
        printed.push_str(payload.as_str());
    }
    let mut hash = Context::new(&SHA256);
    hash.update(printed.as_bytes());
    hex::print(hash.finish().as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<String, InvalidKey> {
        read(&HeaderValue::from_bytes(text.as_bytes()).unwrap()).map(Cow::into_owned)
    }

    #[test]
    fn key_is_the_same_quoted_or_bare() {
        let uuid = "8e03978e-40d5-43dd-bc93-6894a57f9324";
        assert_eq!(read_text(uuid).as_deref(), Ok(uuid));
        assert_eq!(read_text(&format!("\"{uuid}\"")).as_deref(), Ok(uuid));
        assert_eq!(read_text(&format!("  {uuid}\t")).as_deref(), Ok(uuid));
        assert_eq!(
            read_text(r#""a \"b\" \\ c, d""#).as_deref(),
            Ok(r#"a "b" \ c, d"#)
        );
        assert_eq!(read_text("a+/=;:@b").as_deref(), Ok("a+/=;:@b"));
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_reason() {
        let long = "x".repeat(MAX_KEY_BYTES);
        assert_eq!(read_text(&long).as_deref(), Ok(long.as_str()));
        for (text, refusal) in [
            ("", InvalidKey::Empty),
            ("  ", InvalidKey::Empty),
            ("\"\"", InvalidKey::Empty),
            ("\"", InvalidKey::Malformed),
            ("\"a", InvalidKey::Malformed),
            ("\"a\\\"", InvalidKey::Malformed),
            ("\"a\\n\"", InvalidKey::Malformed),
            ("\"a\";b=1", InvalidKey::Malformed),
            ("\"a\", \"b\"", InvalidKey::Malformed),
            ("\"a\tb\"", InvalidKey::Malformed),
            ("a b", InvalidKey::Malformed),
            ("a,b", InvalidKey::Malformed),
            ("a\"b", InvalidKey::Malformed),
            ("é", InvalidKey::Malformed),
            (&"x".repeat(MAX_KEY_BYTES + 1), InvalidKey::TooLong),
        ] {
            assert_eq!(read_text(text), Err(refusal), "{text}");
        }
    }

    #[test]
    fn repeated_header_is_refused_and_an_absent_one_is_no_key() {
        let mut headers = HeaderMap::new();
        assert_eq!(key(&headers), Ok(None));
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("a"));
        assert_eq!(key(&headers), Ok(Some("a".into())));
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("a"));
        assert_eq!(key(&headers), Err(InvalidKey::Repeated));
    }

    #[test]
    fn fingerprints_differ_where_the_answers_would() {
        let text = |text: &'static str| Scalar::Text(text.into());
        let number = |number: &'static str| Scalar::Number(number.into());
        let payload = |json: &str| Payload::new(json).unwrap();
        let prints = [
            fingerprint(&text("1"), &text("2"), None),
            fingerprint(&number("1"), &text("2"), None),
            fingerprint(&text("1"), &number("2"), None),
            fingerprint(&text("2"), &text("1"), None),
            fingerprint(&text("1\n"), &text("2"), None),
            fingerprint(&text("1"), &text("\n2"), None),
            fingerprint(&text("1\", \"2"), &text(""), None),
            fingerprint(&text("1"), &text("2"), Some(&payload("0"))),
            fingerprint(&text("1"), &text("2"), Some(&payload("0.0"))),
            fingerprint(&number("1"), &number("2"), Some(&payload("\n0"))),
        ];
        for (at, one) in prints.iter().enumerate() {
            assert_eq!(one.len(), 64);
            assert!(!prints[..at].contains(one), "{at}");
        }
    }
}
