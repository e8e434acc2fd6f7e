//! The bytes by which ids lie on the list: every Python's, and whatever else somebody may push.

use proptest::prelude::*;
use queue::{JobId, Serializer, item};

use crate::{common::Fixture, python};

const UUID: &str = "0b9d1a7e-6c0f-4e0a-9a3e-5f3b2c1d0e9f";

fn id(text: &str) -> Option<JobId> {
    JobId::new(text)
}

#[test]
fn it_writes_protocol_2() {
    assert_eq!(
        item::write(&id("abc").unwrap()),
        b"\x80\x02X\x03\x00\x00\x00abcq\x00."
    );
}

#[test]
fn bytes_of_python_2_are_read() {
    let python_2: &[&[u8]] = &[
        // pickle.dumps(str(..)), protocols 0, 1, 2; with and without memo
        b"S'0b9d1a7e-6c0f-4e0a-9a3e-5f3b2c1d0e9f'\np0\n.",
        b"S'0b9d1a7e-6c0f-4e0a-9a3e-5f3b2c1d0e9f'\n.",
        b"S'0b9d1a7e-6c0f-4e0a-9a3e-5f3b2c1d0e9f'\np1\n.",
        b"U\x240b9d1a7e-6c0f-4e0a-9a3e-5f3b2c1d0e9fq\x00.",
        b"U\x240b9d1a7e-6c0f-4e0a-9a3e-5f3b2c1d0e9f.",
        b"\x80\x02U\x240b9d1a7e-6c0f-4e0a-9a3e-5f3b2c1d0e9fq\x00.",
        b"\x80\x02U\x240b9d1a7e-6c0f-4e0a-9a3e-5f3b2c1d0e9fr\x00\x01\x00\x00.",
        // pickle.dumps(unicode(..))
        b"V0b9d1a7e-6c0f-4e0a-9a3e-5f3b2c1d0e9f\np0\n.",
        b"X\x24\x00\x00\x000b9d1a7e-6c0f-4e0a-9a3e-5f3b2c1d0e9fq\x00.",
        b"\x80\x02X\x24\x00\x00\x000b9d1a7e-6c0f-4e0a-9a3e-5f3b2c1d0e9fq\x00.",
        // HotQueue(serializer=None)
        b"0b9d1a7e-6c0f-4e0a-9a3e-5f3b2c1d0e9f",
    ];
    for item in python_2 {
        assert_eq!(item::read(item), id(UUID), "{}", item.escape_ascii());
    }
    assert_eq!(item::read(b"S\"it's\"\np0\n."), id("it's"));
    assert_eq!(item::read(b"S'a\\\\b\\'c'\np0\n."), id("a\\b'c"));
    assert_eq!(item::read(b"S'gr\\xc3\\xbcn'\np0\n."), id("grün"));
    assert_eq!(
        item::read(b"Vgr\xfcn \\u20ac \\U0001f600 \\u005c\np0\n."),
        id("grün € 😀 \\")
    );
}

#[test]
fn bytes_of_every_protocol_of_the_real_python_are_read() {
    let texts = [
        UUID,
        "a",
        "it's",
        "quo\"te",
        "back\\slash",
        "grün",
        "€uro",
        "😀",
        &"x".repeat(255),
        &"y".repeat(300),
    ];
    for text in texts {
        for protocol in 0..=5 {
            let item = python::dumps(text, protocol);
            assert_eq!(
                item::read(&item),
                id(text),
                "protocol {protocol}: {}",
                item.escape_ascii()
            );
        }
    }
}

#[test]
fn what_we_write_the_real_python_reads() {
    for text in [UUID, "grün", "😀", &"y".repeat(300)] {
        assert_eq!(python::loads(&item::write(&id(text).unwrap())), text);
    }
}

#[test]
fn json_strings_are_read_and_other_quotes_are_bare_ids() {
    for (item, expected) in [
        (r#""0b9d1a7e-6c0f-4e0a-9a3e-5f3b2c1d0e9f""#, Some(UUID)),
        (r#""gr\u00fcn \ud83d\ude00 €""#, Some("grün 😀 €")),
        (r#""a \"b\" \\ \/ c""#, Some(r#"a "b" \ / c"#)),
        (r#""\uD83D\uDE00""#, Some("😀")),
        // No JSON.
        (r#"""#, Some(r#"""#)),
        (r#""abc"#, Some(r#""abc"#)),
        (r#""a"b""#, Some(r#""a"b""#)),
        (r#""a\x""#, Some(r#""a\x""#)),
        (r#""\ud83d""#, Some(r#""\ud83d""#)),
        (r#""a" "#, Some(r#""a" "#)),
        // JSON, and no id.
        (r#""""#, None),
        (r#""a\nb""#, None),
        (r#""\u0000""#, None),
    ] {
        let expected = expected.and_then(id);
        assert_eq!(item::read(item.as_bytes()), expected, "{item}");
    }
    let escaped = format!("\"{}\"", "\\u0061".repeat(512));
    assert_eq!(item::read(escaped.as_bytes()), id(&"a".repeat(512)));
    let longer = format!("\"{}\"", "\\u0061".repeat(513));
    assert_eq!(item::read(longer.as_bytes()), None);
}

#[test]
fn longest_id_is_read_in_the_longest_shape() {
    let item = format!("V{}\np0\n.", "\\U00000061".repeat(512));
    assert_eq!(item::read(item.as_bytes()), id(&"a".repeat(512)));
}

#[test]
fn each_serializer_reads_its_own_items() {
    let write = |text: &str, serializer| item::write_as(&id(text).unwrap(), serializer);
    assert_eq!(write("abc", Serializer::Json), b"\"abc\"");
    assert_eq!(write("a\"\\b", Serializer::Json), br#""a\"\\b""#);
    assert_eq!(write("abc", Serializer::None), b"abc");
    let like_pickle = format!("U!{}.", "a".repeat(33));
    for serializer in [Serializer::Pickle, Serializer::Json, Serializer::None] {
        for text in [UUID, "grün 😀", "a\"b\\", "\"quoted\"", "\"\"", &like_pickle] {
            let item = write(text, serializer);
            assert_eq!(item::read(&item), id(text), "{serializer}: {text}");
        }
    }
}

#[test]
fn what_is_no_text_is_no_id() {
    let not_ids: &[&[u8]] = &[
        b"",
        b"\x80\x04K\x01.",
        b"\x80\x02]q\x00.",
        b"\x80\x06X\x01\x00\x00\x00a.",
        b"\x80\x02X\x04\x00\x00\x00abc.",
        b"\x80\x02X\x02\x00\x00\x00abc.",
        b"\x80\x02X\xff\xff\xff\xffabc.",
        b"\x80\x02X\x00\x00\x00\x00.",
        b"\x80\x02X\x03\x00\x00\x00a\nbq\x00.",
        b"\x80\x02X\x03\x00\x00\x00abc0.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"S'unended\np0\n.",
        b"Vbad \\x41\np0\n.",
        b"Vhalf \\ud83d\np0\n.",
        b"\xff\xfe",
        b"line\nbreak",
    ];
    for item in not_ids {
        assert_eq!(item::read(item), None, "{}", item.escape_ascii());
    }
    assert_eq!(item::read(&[b'x'; 513]), None);
}

proptest! {
    #[test]
    fn what_is_written_is_read(text in "[^\\x00-\\x1f\\x7f]{1,128}") {
        let id = JobId::new(text).unwrap();
        for serializer in [Serializer::Pickle, Serializer::Json, Serializer::None] {
            prop_assert_eq!(item::read(&item::write_as(&id, serializer)), Some(id.clone()));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = item::read(&bytes);
    }
}

/// Bytes that are nearly an item: pieces of pickles in any order, and noise.
fn nearly_items() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &'static [&'static [u8]] = &[
        b"\x80\x02",
        b"\x80\x03",
        b"\x80\x04",
        b"\x80\x05",
        b"\x80\x06",
        b"\x95\x05\x00\x00\x00\x00\x00\x00\x00",
        b"X\x03\x00\x00\x00",
        b"T\x02\x00\x00\x00",
        b"U\x03",
        b"\x8c\x03",
        b"S'",
        b"S\"",
        b"V",
        b"abc",
        b"ab",
        b"\\x41",
        b"\\u00fc",
        b"\\ud800",
        b"\\U0001f600",
        b"\\\\",
        b"\\'",
        b"'",
        b"\"",
        b"\n",
        b"p0\n",
        b"p\n",
        b"q\x00",
        b"r\x00\x01\x00\x00",
        b"\x94",
        b".",
        b"\xc3\xbc",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x98\x80",
        b"\xc0\x80",
        b"\x00",
        b"\"abc\"",
        b"\\\"",
        b"\\/",
        b"\\n",
        b"\\ude00",
        b"\\ud83d\\ude00",
        b"\xe2\x82\xac",
        b"\x7f",
    ];
    let piece = prop_oneof![
        8 => proptest::sample::select(pieces).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

#[test]
fn the_claim_script_reads_every_item_as_this_crate_does() {
    let fixture = Fixture::new();
    let raw = std::cell::RefCell::new(fixture.raw);
    let script = concat!(
        include_str!("../../src/scripts/item.lua"),
        r"
        local ids = {}
        for i, raw in ipairs(ARGV) do ids[i] = id_of(raw) or false end
        return ids
    "
    );
    // A case is as many items as are asked in one round trip.
    let usual = ProptestConfig::default();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: usual.cases.div_ceil(100).max(200),
        ..usual
    });
    let ids_seen = std::cell::Cell::new(0);
    let batches = proptest::collection::vec(nearly_items(), 100);
    runner
        .run(&batches, |items| {
            let mut eval = redis::cmd("EVAL");
            eval.arg(script).arg(0).arg(&items);
            let ids: Vec<Option<Vec<u8>>> = raw.borrow_mut().command(&eval).unwrap();
            for (item, lua) in items.iter().zip(ids) {
                let rust = item::read(item).map(|id| id.as_str().as_bytes().to_vec());
                prop_assert_eq!(&lua, &rust, "{}", item.escape_ascii());
                ids_seen.set(ids_seen.get() + usize::from(rust.is_some()));
            }
            Ok(())
        })
        .unwrap();
    let ids_seen = ids_seen.get();
    assert!(
        ids_seen > 500,
        "only {ids_seen} of them were ids: the test says little"
    );
}
