//! The body of `POST /jobs`, read as the original's `json.loads` read it.

use std::fmt;

use axum::http::StatusCode;
use queue::Payload;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    error::Problem,
    python_json::{NotScalar, Scalar, read_string},
};

/// Windows tools put it before UTF-8, and Python ignores it.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A job as a client asks for it. Borrows from the body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Submission<'a> {
    pub(crate) start: Scalar<'a>,
    pub(crate) end: Scalar<'a>,
    /// As it was sent; `null` is none.
    pub(crate) payload: Option<Payload>,
}

/// Why a body asks for no job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidBody {
    #[error("the body is not UTF-8")]
    NotUtf8(#[from] std::str::Utf8Error),
    #[error("the body is no JSON object with `start` and `end`: {0}")]
    NotAnObject(#[from] serde_json::Error),
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` {1}")]
    NotScalar(&'static str, NotScalar),
    #[error("`payload` is {bytes} bytes long; it may have {limit}")]
    PayloadTooLarge { bytes: usize, limit: usize },
    #[error("`payload` cannot be taken: {0}")]
    Payload(queue::Error),
}

impl<'a> Submission<'a> {
    /// Reads a body, whatever its content type was said to be.
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, InvalidBody> {
        let text = std::str::from_utf8(body)?;
        let members: Members<'a> = serde_json::from_str(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text))?;
        // Both are looked up before either is judged, as the original did.
        let start = members.start.ok_or(InvalidBody::Missing("start"))?;
        let end = members.end.ok_or(InvalidBody::Missing("end"))?;
        Ok(Self {
            start: Scalar::read(start).map_err(|why| InvalidBody::NotScalar("start", why))?,
            end: Scalar::read(end).map_err(|why| InvalidBody::NotScalar("end", why))?,
            payload: members.payload.map(payload).transpose()?,
        })
    }
}

fn payload(raw: &RawValue) -> Result<Payload, InvalidBody> {
    Payload::new(raw.get()).map_err(|error| match error {
        queue::Error::TooLarge { bytes, limit, .. } => InvalidBody::PayloadTooLarge { bytes, limit },
        error => InvalidBody::Payload(error),
    })
}

impl From<InvalidBody> for Problem {
    fn from(invalid: InvalidBody) -> Self {
        let detail = invalid.to_string();
        match invalid {
            InvalidBody::NotUtf8(_) | InvalidBody::NotAnObject(_) => {
                Self::new(StatusCode::BAD_REQUEST, detail)
            }
            InvalidBody::Missing(field) | InvalidBody::NotScalar(field, _) => Self::bad_field(field, detail),
            InvalidBody::PayloadTooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail).at("payload")
            }
            InvalidBody::Payload(_) => Self::bad_field("payload", detail),
        }
    }
}

/// The members that matter, unread. Of a repeated one the last counts, as in a Python dict.
#[derive(Default)]
struct Members<'a> {
    start: Option<&'a RawValue>,
    end: Option<&'a RawValue>,
    payload: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::default();
        // Unread too: a key that nobody looks at may hold half of a surrogate pair, which no `str` can.
        while let Some(key) = map.next_key::<&RawValue>()? {
            match Key::read(key) {
                Key::Start => members.start = Some(map.next_value()?),
                Key::End => members.end = Some(map.next_value()?),
                // An option reads `null` as none.
                Key::Payload => members.payload = map.next_value()?,
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(members)
    }
}

enum Key {
    Start,
    End,
    Payload,
    Other,
}

impl Key {
    fn read(raw: &RawValue) -> Self {
        match read_string(raw.get()).as_deref() {
            Ok("start") => Self::Start,
            Ok("end") => Self::End,
            Ok("payload") => Self::Payload,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(body: &str) -> Result<(String, String), String> {
        Submission::read(body.as_bytes())
            .map(|job| (job.start.stored().to_owned(), job.end.stored().to_owned()))
            .map_err(|invalid| invalid.to_string())
    }

    fn ok(start: &str, end: &str) -> Result<(String, String), String> {
        Ok((start.to_owned(), end.to_owned()))
    }

    #[test]
    fn other_members_are_passed_over() {
        assert_eq!(stored(r#"{"start": "go!", "end": "stop!"}"#), ok("go!", "stop!"));
        assert_eq!(
            stored(r#" {"x": [{"start": 9}], "end": 2.50, "start": 1, "\ud800": "\udc00"} "#),
            ok("1", "2.5")
        );
        assert_eq!(stored("\u{feff}{\"start\":1,\"end\":2}"), ok("1", "2"));
    }

    #[test]
    fn last_of_a_repeated_key_counts_however_it_is_spelled() {
        assert_eq!(
            stored(r#"{"start": [], "end": 1, "st\u0061rt": "last"}"#),
            ok("last", "1")
        );
    }

    fn payload(json: &str) -> Option<String> {
        let body = format!(r#"{{"start": 1, "payload": {json}, "end": 2}}"#);
        let payload = Submission::read(body.as_bytes()).unwrap().payload;
        payload.map(|payload| payload.as_str().to_owned())
    }

    #[test]
    fn payload_is_taken_as_it_was_written_and_null_is_none() {
        for json in [
            r#"{"b" : [1.10, 1e400],  "a": "\u00e9 é", "a": {}}"#,
            "0",
            "\"\"",
            "false",
            "[]",
            "{\n}",
        ] {
            assert_eq!(payload(json).as_deref(), Some(json));
        }
        assert_eq!(payload("null"), None);
        assert_eq!(payload(r#"1, "payload": null"#), None, "the last counts");
    }

    #[test]
    fn nesting_in_ignored_members_does_not_exhaust_the_stack() {
        let deep = format!(
            r#"{{"x": {}{}, "start": 1, "end": 2}}"#,
            "[".repeat(30_000),
            "]".repeat(30_000)
        );
        assert_eq!(stored(&deep), ok("1", "2"));
    }

    #[test]
    fn refusal_names_the_field_or_says_what_is_wrong_with_the_body() {
        for (body, expected) in [
            (r#"{"end": 1}"#, "`start` is missing"),
            (r#"{"start": [1]}"#, "`end` is missing"),
            (r#"{"start": 1, "end": [1]}"#, "`end` is a list"),
            (
                r#"{"start": "\ud800", "end": 1}"#,
                "`start` holds half of a surrogate pair",
            ),
            ("", "EOF while parsing"),
            ("[1]", "invalid type: sequence, expected an object"),
            ("\"start\"", "expected an object"),
            (
                r#"{"start": NaN, "end": 1}"#,
                "expected value at line 1 column 11",
            ),
            (r#"{"start": 1, "end": 2} x"#, "trailing characters"),
            ("{\"start\": \"a\tb\", \"end\": 1}", "control character"),
            ("{\"a\tb\": 0, \"start\": 1, \"end\": 1}", "control character"),
        ] {
            let refusal = stored(body).unwrap_err();
            assert!(refusal.contains(expected), "{body}: {refusal}");
        }
        let refusal = Submission::read(b"{\"start\": \"\xff\"}").unwrap_err();
        assert!(matches!(refusal, InvalidBody::NotUtf8(_)), "{refusal}");
    }
}
