//! What a user sends along with a job, besides start and end.

use std::fmt;

use serde::de::IgnoredAny;

use crate::{Error, Result};

/// Any JSON text of at most [`Payload::MAX_BYTES`]. It is kept beside the job, never in its hash, and is handed out
/// as it was given, to the byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(String);

impl Payload {
    /// The longest payload, in bytes.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Takes `json` if it is one JSON value and not too long.
    ///
    /// # Errors
    /// [`Error::TooLarge`] or [`Error::Malformed`].
    pub fn new(json: impl Into<String>) -> Result<Self> {
        let json = json.into();
        Error::check_size("a payload", json.len(), Self::MAX_BYTES)?;
        serde_json::from_str::<IgnoredAny>(&json).map_err(|err| Error::Malformed {
            what: "a payload",
            detail: err.to_string(),
        })?;
        Ok(Self(json))
    }

    /// As Redis has it: it was checked when it was submitted.
    pub(crate) fn kept(json: String) -> Self {
        Self(json)
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Its length only: it may be long, and is nobody's business in a log.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_json_value_is_a_payload_and_stays_as_it_was_written() {
        for json in [r#"{"b": 1.10, "a": [null]}"#, "1e400", "\"é\"", " true\n"] {
            assert_eq!(Payload::new(json).unwrap().as_str(), json);
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "{} {}", "NaN", "'a'"] {
            assert!(
                matches!(Payload::new(text), Err(Error::Malformed { .. })),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_payload_has_at_most_64_kib() {
        let long = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        assert!(Payload::new(long(Payload::MAX_BYTES)).is_ok());
        let refused = Payload::new(long(Payload::MAX_BYTES + 1));
        assert_eq!(
            refused.unwrap_err().to_string(),
            "a payload has at most 65536 bytes, not 65537"
        );
    }
}
