//! How a job's id lies on the list: as the pickle of one short text, of any protocol and Python, as a JSON string, or bare.
//!
//! Only the shapes in which a Python pickles a `str` (or a Python 2 `unicode`) are read; what comes out of Redis
//! is never run through a general unpickler. The claim script reads items by the same rules
//! (`scripts/item.lua`); a test holds the two equal. The opcodes are those of Python's `pickletools`.

use crate::{JobId, MAX_ID_BYTES, Serializer};

/// No item of an id is longer: ten bytes for each of the id's where a pickle of protocol 0 writes them as `\UXXXXXXXX`, and
/// some.
const MAX_ITEM_BYTES: usize = 10 * MAX_ID_BYTES + 32;

/// Writes `id` as a HotQueue with this serializer reads it. A bare id that would be read as something else is pickled.
pub fn write_as(id: &JobId, serializer: Serializer) -> Vec<u8> {
    let text = id.as_str();
    match serializer {
        // An id has no control characters, so nothing else is to be escaped.
        Serializer::Json => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")).into_bytes(),
        Serializer::None if is_read_bare(text) => text.as_bytes().to_vec(),
        Serializer::None | Serializer::Pickle => write(id),
    }
}

/// Whether it cannot be a JSON string, nor a pickle: of their first bytes an id can begin with `U` alone.
fn is_read_bare(id: &str) -> bool {
    !(id.starts_with('"') || (id.starts_with('U') && id.ends_with('.')))
}

/// Writes `id` as pickle protocol 2, the newest that every Python 2 and 3 reads.
pub fn write(id: &JobId) -> Vec<u8> {
    let text = id.as_str().as_bytes();
    // MAX_ID_BYTES is far below what the four bytes of length can say.
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut item = Vec::with_capacity(text.len() + 10);
    item.extend_from_slice(b"\x80\x02X");
    item.extend_from_slice(&length.to_le_bytes());
    item.extend_from_slice(text);
    item.extend_from_slice(b"q\x00.");
    item
}

/// Reads the id that `item` means; `None` if it is no job's.
pub fn read(item: &[u8]) -> Option<JobId> {
    if item.len() > MAX_ITEM_BYTES {
        return None;
    }
    let text = match item {
        [0x80, 2..=5, rest @ ..] => {
            // A frame is its opcode and eight bytes of length.
            let body = if rest.first() == Some(&0x95) {
                rest.get(9..)?
            } else {
                rest
            };
            from_binary_pickle(body)?.to_vec()
        }
        [0x80, ..] => return None,
        _ => from_text_pickle(item)
            .or_else(|| from_binary_pickle(item).map(<[u8]>::to_vec))
            .or_else(|| from_json(item))
            .unwrap_or_else(|| item.to_vec()),
    };
    if text.len() > MAX_ID_BYTES {
        return None;
    }
    JobId::new(String::from_utf8(text).ok()?)
}

/// Protocols 1 to 5: a text with its length before it, perhaps remembered, and the end.
fn from_binary_pickle(item: &[u8]) -> Option<&[u8]> {
    let (length, rest) = match item {
        // BINUNICODE, BINSTRING
        [b'X' | b'T', a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        // SHORT_BINSTRING, SHORT_BINUNICODE
        [b'U' | 0x8c, n, rest @ ..] => (usize::from(*n), rest),
        _ => return None,
    };
    let (text, end) = rest.split_at_checked(length)?;
    // Nothing, MEMOIZE, BINPUT or LONG_BINPUT; then STOP.
    matches!(
        end,
        [b'.'] | [0x94, b'.'] | [b'q', _, b'.'] | [b'r', _, _, _, _, b'.']
    )
    .then_some(text)
}

/// Protocol 0: a line, perhaps remembered ("p0"), and the end.
fn from_text_pickle(item: &[u8]) -> Option<Vec<u8>> {
    let (op, rest) = item.split_first()?;
    let newline = rest.iter().position(|b| *b == b'\n')?;
    let (line, end) = (&rest[..newline], &rest[newline + 1..]);
    let remembered = |end: &[u8]| {
        let digits = end.strip_prefix(b"p").and_then(|end| end.strip_suffix(b"\n."));
        digits.is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
    };
    if end != b"." && !remembered(end) {
        return None;
    }
    match op {
        b'S' => from_repr(line),
        b'V' => from_raw_unicode(line),
        _ => None,
    }
}

/// A text in quotes. What is no JSON is a bare id that begins with a quote.
fn from_json(item: &[u8]) -> Option<Vec<u8>> {
    let text = match item {
        [b'"', .., b'"'] => serde_json::from_slice::<String>(item).ok()?,
        _ => return None,
    };
    Some(text.into_bytes())
}

/// STRING: the repr() of a Python 2 str. Of its escapes only those that an id can hold.
fn from_repr(line: &[u8]) -> Option<Vec<u8>> {
    let (quote, rest) = line
        .split_first()
        .filter(|(quote, _)| matches!(quote, b'\'' | b'"'))?;
    let mut body = rest.strip_suffix(&[*quote])?;
    let mut text = Vec::with_capacity(body.len());
    loop {
        match body {
            [] => return Some(text),
            [b'\\', b'x', hex @ ..] if hex_value(hex, 2).is_some() => {
                text.push(u8::try_from(hex_value(hex, 2)?).ok()?);
                body = &hex[2..];
            }
            [b'\\', escaped @ (b'\\' | b'\'' | b'"'), rest @ ..] => {
                text.push(*escaped);
                body = rest;
            }
            [b'\\', ..] => return None,
            [byte, _rest @ ..] if byte == quote => return None,
            [byte, rest @ ..] => {
                text.push(*byte);
                body = rest;
            }
        }
    }
}

/// UNICODE: raw-unicode-escape, which is Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
fn from_raw_unicode(mut line: &[u8]) -> Option<Vec<u8>> {
    let mut text = String::with_capacity(line.len());
    loop {
        let (code, rest) = match line {
            [] => return Some(text.into_bytes()),
            [b'\\', b'u', hex @ ..] => (hex_value(hex, 4)?, &hex[4..]),
            [b'\\', b'U', hex @ ..] => (hex_value(hex, 8)?, &hex[8..]),
            [b'\\', ..] => return None,
            [byte, rest @ ..] => (u32::from(*byte), rest),
        };
        text.push(char::from_u32(code)?);
        line = rest;
    }
}

fn hex_value(bytes: &[u8], digits: usize) -> Option<u32> {
    let hex = bytes
        .get(..digits)
        .filter(|hex| hex.iter().all(u8::is_ascii_hexdigit))?;
    u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
}
