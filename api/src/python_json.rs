//! How Python reads and prints the two values of a job.
//!
//! The original answered with `json.dumps` and stored with redis-py, and its users compare what they get. The
//! rules are those of CPython's `json` module (`ensure_ascii=True`, the default separators) and of `repr(float)`;
//! `tests/original.rs` holds them equal to the programs themselves.

use std::{borrow::Cow, fmt::Write as _};

use serde_json::value::RawValue;

/// A JSON value that redis-py stores: a string, or a number in Python's spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scalar<'a> {
    /// The string itself, escapes resolved.
    Text(Cow<'a, str>),
    /// The number as Python prints it, which is how it is both echoed and stored.
    Number(Cow<'a, str>),
}

/// Why a JSON value is none that can be stored. Completes the sentence "`start` …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotScalar {
    #[error("is null; it must be a string or a number")]
    Null,
    #[error("is a boolean; it must be a string or a number")]
    Boolean,
    #[error("is a list; it must be a string or a number")]
    List,
    #[error("is an object; it must be a string or a number")]
    Object,
    #[error("holds half of a surrogate pair, which is no character")]
    LoneSurrogate,
    #[error("is a number beyond what a double can hold")]
    Overflow,
}

impl<'a> Scalar<'a> {
    /// Reads a value that is known to be well-formed JSON.
    pub(crate) fn read(raw: &'a RawValue) -> Result<Self, NotScalar> {
        let raw = raw.get();
        match raw.as_bytes().first() {
            Some(b'"') => read_string(raw).map(Self::Text),
            Some(b'n') => Err(NotScalar::Null),
            Some(b't' | b'f') => Err(NotScalar::Boolean),
            Some(b'[') => Err(NotScalar::List),
            Some(b'{') => Err(NotScalar::Object),
            _ => read_number(raw).map(Self::Number),
        }
    }

    /// What redis-py stores for it: the string, or the number's spelling.
    pub(crate) fn stored(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(text) => text,
        }
    }

    /// Appends it as `json.dumps` prints it.
    pub(crate) fn dump(&self, out: &mut String) {
        match self {
            Self::Text(text) => dump_string(text, out),
            Self::Number(number) => out.push_str(number),
        }
    }
}

/// Reads a string that is known to be well-formed JSON, quotes included.
pub(crate) fn read_string(raw: &str) -> Result<Cow<'_, str>, NotScalar> {
    let inside = raw.get(1..raw.len() - 1).unwrap_or_default();
    if !inside.contains('\\') {
        return Ok(Cow::Borrowed(inside));
    }
    // Well-formed JSON can fail to be a Rust string for one reason only.
    serde_json::from_str(raw)
        .map(Cow::Owned)
        .map_err(|_| NotScalar::LoneSurrogate)
}

fn read_number(raw: &str) -> Result<Cow<'_, str>, NotScalar> {
    if !raw.contains(['.', 'e', 'E']) {
        // Python has no negative zero among its integers.
        return Ok(Cow::Borrowed(if raw == "-0" { "0" } else { raw }));
    }
    match raw.parse::<f64>() {
        Ok(float) if float.is_finite() => Ok(Cow::Owned(repr(float))),
        _ => Err(NotScalar::Overflow),
    }
}

/// Python's `repr` of a finite float: the shortest digits that read back as the same double, with an exponent
/// only below 1e-4 and from 1e16 on (CPython's `format_float_short`, `float_repr_style` "short").
fn repr(float: f64) -> String {
    let shortest = shortest(float);
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        return positional(mantissa, exponent);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

/// The shortest digits, as `d.ddde±x`. Where two such spellings are equally near, Rust takes the greater and
/// Python the even one, which is what rounding to that many digits gives.
fn shortest(float: f64) -> String {
    let shortest = format!("{float:e}");
    let digits = shortest
        .bytes()
        .take_while(|&byte| byte != b'e')
        .filter(u8::is_ascii_digit)
        .count();
    let rounded = format!("{float:.*e}", digits - 1);
    // Just above a power of two the nearest spelling may read back as the double below.
    if rounded.parse() == Ok(float) {
        rounded
    } else {
        shortest
    }
}

/// `d.ddd` times ten to the `exponent`, written out, with at least one digit after the point.
fn positional(mantissa: &str, exponent: i32) -> String {
    let (sign, mantissa) = mantissa
        .strip_prefix('-')
        .map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    match usize::try_from(exponent) {
        Err(_) => {
            let places = usize::try_from(exponent.unsigned_abs()).unwrap_or_default();
            format!("{sign}0.{digits:0>width$}", width = places - 1 + digits.len())
        }
        Ok(exponent) => {
            let digits = format!("{digits:0<width$}", width = exponent + 2);
            let (whole, fraction) = digits.split_at(exponent + 1);
            format!("{sign}{whole}.{fraction}")
        }
    }
}

/// Appends `text` as `json.dumps` prints a string: everything outside printable ASCII as `\uXXXX`, in UTF-16.
pub(crate) fn dump_string(text: &str, out: &mut String) {
    out.push('"');
    escape(text, out);
    out.push('"');
}

/// What stands between the quotes.
pub(crate) fn escape(text: &str, out: &mut String) {
    let mut plain_from = 0;
    for (at, character) in text.char_indices() {
        if matches!(character, ' ' | '!' | '#'..='[' | ']'..='~') {
            continue;
        }
        out.push_str(&text[plain_from..at]);
        plain_from = at + character.len_utf8();
        dump_escape(character, out);
    }
    out.push_str(&text[plain_from..]);
}

fn dump_escape(character: char, out: &mut String) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(json: &str) -> Result<String, NotScalar> {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let scalar = Scalar::read(raw)?;
        let mut out = String::new();
        scalar.dump(&mut out);
        Ok(out)
    }

    #[test]
    fn integer_of_any_length_is_printed_as_it_is() {
        let long = "9".repeat(400);
        for integer in ["0", "7", "-7", "18446744073709551616", &long] {
            assert_eq!(scalar(integer).as_deref(), Ok(integer));
        }
        assert_eq!(scalar("-0").as_deref(), Ok("0"));
    }

    #[test]
    fn float_is_printed_as_python_repr_does() {
        // Left as JSON, right as CPython 3.11 printed it.
        for (json, python) in [
            ("1.10", "1.1"),
            ("1e3", "1000.0"),
            ("1E+3", "1000.0"),
            ("-0.0", "-0.0"),
            ("-0e5", "-0.0"),
            ("1e16", "1e+16"),
            ("9999999999999998.0", "9999999999999998.0"),
            ("123456789012345680.0", "1.2345678901234568e+17"),
            ("0.0001", "0.0001"),
            ("1e-5", "1e-05"),
            ("0.000012345", "1.2345e-05"),
            ("1e-400", "0.0"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("0.1", "0.1"),
            ("1997441953470690.25", "1997441953470690.2"),
            ("9007199254740993.0", "9007199254740992.0"),
            ("-0.00012", "-0.00012"),
            ("3.0", "3.0"),
            ("100", "100"),
        ] {
            assert_eq!(scalar(json).as_deref(), Ok(python), "{json}");
        }
    }

    #[test]
    fn string_is_escaped_to_ascii_with_surrogate_pairs() {
        for (json, python) in [
            (r#""go!""#, r#""go!""#),
            (r#""a\/b""#, r#""a/b""#),
            (r#""\"\\\b\f\n\r\t""#, r#""\"\\\b\f\n\r\t""#),
            ("\"\u{7f}é€\"", r#""\u007f\u00e9\u20ac""#),
            (r#""\u0000\u001F""#, r#""\u0000\u001f""#),
            ("\"😀\"", r#""\ud83d\ude00""#),
            (r#""\uD83D\uDE00""#, r#""\ud83d\ude00""#),
        ] {
            assert_eq!(scalar(json).as_deref(), Ok(python), "{json}");
        }
    }

    #[test]
    fn what_redis_py_refuses_is_refused_with_its_kind() {
        for (json, refusal) in [
            ("null", NotScalar::Null),
            ("true", NotScalar::Boolean),
            ("false", NotScalar::Boolean),
            ("[1]", NotScalar::List),
            ("{}", NotScalar::Object),
            (r#""\ud800""#, NotScalar::LoneSurrogate),
            (r#""\udc00\ud800 ""#, NotScalar::LoneSurrogate),
            ("1e999", NotScalar::Overflow),
        ] {
            assert_eq!(scalar(json), Err(refusal), "{json}");
        }
    }

    #[test]
    fn unescaped_string_is_borrowed_from_the_body() {
        let raw: &RawValue = serde_json::from_str(r#""go!""#).unwrap();
        assert!(matches!(
            Scalar::read(raw),
            Ok(Scalar::Text(Cow::Borrowed("go!")))
        ));
    }
}
