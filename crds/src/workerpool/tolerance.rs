//! A share between 0 and 1, in the words of a HorizontalPodAutoscaler.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Decimals and thousandths up to 1, as a Kubernetes Quantity has them.
const PATTERN: &str = r"^(0|1|1\.0+|0?\.[0-9]+|[0-9]{1,3}m|1000m)$";
/// In characters: a longer decimal is more exact than any count of replicas.
const MAX_LENGTH: usize = 16;

/// A share between 0 and 1. Written as a string, "0.1"; read as a string, "0.1" or "100m", and as the number that it was until
/// 0.1.0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance(f64);

impl Tolerance {
    /// The share itself; 0.1 is a tenth.
    #[must_use]
    pub fn share(self) -> f64 {
        self.0
    }

    fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = match text.strip_suffix('m') {
            Some(thousandths) => (thousandths, 1000.0),
            None => (text, 1.0),
        };
        // `f64` would take "inf" and "1e-1" too, which the schema refuses.
        let is_decimal = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let number: f64 = number.parse().ok().filter(|_| is_decimal)?;
        Self::new(number / unit)
    }
}

impl Serialize for Tolerance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Tolerance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Tolerance;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share between 0 and 1, as \"0.1\", \"100m\" or 0.1")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Tolerance, E> {
        Tolerance::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_f64<E: de::Error>(self, share: f64) -> Result<Tolerance, E> {
        Tolerance::new(share).ok_or_else(|| E::invalid_value(de::Unexpected::Float(share), &self))
    }

    fn visit_u64<E: de::Error>(self, share: u64) -> Result<Tolerance, E> {
        match share {
            0 => Ok(Tolerance(0.0)),
            1 => Ok(Tolerance(1.0)),
            _ => Err(E::invalid_value(de::Unexpected::Unsigned(share), &self)),
        }
    }
}

impl JsonSchema for Tolerance {
    fn schema_name() -> Cow<'static, str> {
        "Tolerance".into()
    }

    /// A structural schema has no type that is a string or a number, and CEL does not see a field without a type. So strings and
    /// numbers have a limit each, and booleans, objects and lists have limits that none of them meets.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-preserve-unknown-fields": true,
            "pattern": PATTERN,
            "maxLength": MAX_LENGTH,
            "minimum": 0,
            "maximum": 1,
            "not": {"enum": [false, true]},
            "minProperties": 1,
            "maxProperties": 0,
            "minItems": 1,
            "maxItems": 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &serde_json::Value) -> Result<Tolerance, serde_json::Error> {
        serde_json::from_value(value.clone())
    }

    #[test]
    fn strings_and_numbers_are_read_and_strings_written() {
        for (value, share) in [
            (json!("0.1"), 0.1),
            (json!("100m"), 0.1),
            (json!(".5"), 0.5),
            (json!("1"), 1.0),
            (json!("1000m"), 1.0),
            (json!("0"), 0.0),
            (json!(0.1), 0.1),
            (json!(0), 0.0),
            (json!(1), 1.0),
        ] {
            let tolerance = read(&value).unwrap();
            assert_eq!(tolerance, Tolerance(share), "{value}");
            let written = serde_json::to_value(tolerance).unwrap();
            assert!(written.is_string(), "{written}");
            assert_eq!(read(&written).unwrap(), tolerance);
        }
    }

    #[test]
    fn values_that_are_no_share_are_refused_with_example() {
        for value in [
            json!("a lot"),
            json!("1.5"),
            json!("1001m"),
            json!("inf"),
            json!("1e-1"),
            json!("-0.1"),
            json!(""),
            json!("m"),
            json!(1.5),
            json!(-1),
            json!(2),
            json!(true),
            json!({}),
            json!([]),
        ] {
            let error = read(&value).unwrap_err().to_string();
            assert!(error.contains("\"0.1\""), "{value}: {error}");
        }
    }
}
