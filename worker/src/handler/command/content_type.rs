//! What a result is, as far as it shows.

use serde::de::IgnoredAny;

/// By their first bytes: the types that browsers show, and that programs give most.
const MAGIC: [(&[u8], &str); 5] = [
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
];

/// The content type of bytes of which nothing was told.
pub(super) fn of(bytes: &[u8]) -> &'static str {
    if let Some((_, known)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return known;
    }
    // A lone number or word is JSON too, and is meant as text.
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if matches!(first, Some(b'{' | b'[')) && serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
        "application/json"
    } else if !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok() {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_bytes_are_told_apart() {
        for (bytes, is) in [
            (&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"GIF89a", "image/gif"),
            (b"%PDF-1.7", "application/pdf"),
            (b" {\"a\": [1]}\n", "application/json"),
            (b"{a}", "text/plain; charset=utf-8"),
            (b"42\n", "text/plain; charset=utf-8"),
            ("größer".as_bytes(), "text/plain; charset=utf-8"),
            (b"a\0b", "application/octet-stream"),
            (b"\xff\xfe", "application/octet-stream"),
        ] {
            assert_eq!(of(bytes), is, "{bytes:?}");
        }
    }
}
