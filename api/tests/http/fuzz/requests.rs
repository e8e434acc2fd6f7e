//! Strategies: requests that are right, nearly right, and wrong.

use axum::http::{HeaderValue, Method, Uri};
use proptest::{collection::vec, prelude::*, sample::select};

/// A request to one of these paths, most of the time.
pub(super) fn request(
    paths: Vec<String>,
) -> impl Strategy<Value = (Method, Uri, Vec<(&'static str, HeaderValue)>, Vec<u8>)> {
    let header = (select(HEADERS), header_value());
    (method(), uri(paths), vec(header, 0..4), body())
}

const HEADERS: &[&str] = &[
    "idempotency-key",
    "idempotency-key",
    "content-type",
    "content-length",
    "expect",
    "if-none-match",
    "x-forwarded-for",
];

fn method() -> impl Strategy<Value = Method> {
    let known = select(vec![
        Method::GET,
        Method::POST,
        Method::DELETE,
        Method::HEAD,
        Method::PUT,
    ]);
    let any = "[A-Z]{1,12}".prop_map(|name| Method::from_bytes(name.as_bytes()).unwrap());
    prop_oneof![9 => known, 1 => any]
}

fn uri(paths: Vec<String>) -> impl Strategy<Value = Uri> {
    let known = (select(paths), id()).prop_map(|(route, id)| route.replace("{id}", &id));
    let segment = prop_oneof![
        encoded(0..12),
        encoded(300..600),
        select(vec!["jobs", "dead"]).prop_map(str::to_owned)
    ];
    let any = vec(segment, 0..4).prop_map(|segments| format!("/{}", segments.join("/")));
    let name = prop_oneof![6 => select(NAMES).prop_map(str::to_owned), 1 => encoded(0..6)];
    let parameter =
        (name, prop_oneof![number(), encoded(0..24)]).prop_map(|(name, value)| format!("{name}={value}"));
    (prop_oneof![4 => known, 1 => any], vec(parameter, 0..3)).prop_filter_map("no URI", |(path, query)| {
        let text = if query.is_empty() {
            path
        } else {
            format!("{path}?{}", query.join("&"))
        };
        text.parse().ok()
    })
}

/// Any text, percent-encoded as a client should; or anything.
fn id() -> impl Strategy<Value = String> {
    let text = any::<String>().prop_map(|text| text.bytes().map(|byte| format!("%{byte:02X}")).collect());
    prop_oneof![text, encoded(0..12), encoded(300..600)]
}

const NAMES: &[&str] = &["limit", "cursor", "all"];

/// Bytes of any value, most of them percent-encoded; now and then with an escape cut short.
fn encoded(length: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let byte = prop_oneof![
        any::<u8>().prop_map(|byte| format!("%{byte:02X}")),
        "[a-zA-Z0-9._~:@!$'()*+,;=-]",
        select(vec![
            "%",
            "%f",
            "%zz",
            "%00",
            "%2F",
            "%0A",
            "%C3%28",
            "%F0%9F%98%80"
        ])
        .prop_map(str::to_owned),
    ];
    vec(byte, length).prop_map(|bytes| bytes.concat())
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,40}",
        "-?[0-9]{1,4}",
        Just("18446744073709551616".to_owned()),
        Just("true".to_owned())
    ]
}

fn header_value() -> impl Strategy<Value = HeaderValue> {
    prop_oneof![vec(any::<u8>(), 0..40), vec(0x20_u8..0x7f, 0..300)]
        .prop_filter_map("no header", |bytes| HeaderValue::from_bytes(&bytes).ok())
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let scalar = prop_oneof![
        number(),
        "-?[0-9]{1,30}\\.[0-9]{1,30}[eE][+-]?[0-9]{1,5}",
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "\"(\\\\u[0-9a-fA-F]{4}|\\\\.|[ -~])*\"",
        select(vec!["null", "[]", "{}", "\"", "NaN", "\"\\ud800\""]).prop_map(str::to_owned),
    ];
    let list = vec(scalar.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(",")));
    let key = select(vec!["start", "end", "ids", "payload", "st\\u0061rt", "x"]);
    let value = prop_oneof![8 => scalar, 2 => list, 1 => json(), 1 => long()];
    let member = (key, value).prop_map(|(key, value)| format!("\"{key}\":{value}"));
    let object = vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(",")).into_bytes());
    let deep = (1..40_000_usize).prop_map(|depth| format!("{{\"x\":{}", "[".repeat(depth)).into_bytes());
    let cut = (object.clone(), any::<prop::sample::Index>()).prop_map(|(mut object, at)| {
        object.truncate(at.index(object.len()));
        object
    });
    prop_oneof![8 => object, 2 => cut, 2 => vec(any::<u8>(), 0..200), 1 => deep]
}

/// JSON as its users write it: any value, any spelling, spaces and newlines in between.
pub(super) fn json() -> impl Strategy<Value = String> {
    let space = || select(vec!["", "", " ", "\n\t", "\r "]);
    let string = prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "\"(\\\\u[0-9a-fA-F]{4}|\\\\[\"\\\\/bfnrt]|[ !#-\\[\\]-~])*\"",
    ];
    let leaf = prop_oneof![
        select(vec!["null", "true", "false", "[]", "{}", "{ }", "\"\""]).prop_map(str::to_owned),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?",
        string.clone(),
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        let item =
            (space(), inner, space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"));
        let member = (string.clone(), item.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
        prop_oneof![
            vec(item, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// JSON about as long as a payload may be.
fn long() -> impl Strategy<Value = String> {
    (65_000..66_000_usize).prop_map(|length| format!("\"{}\"", "x".repeat(length)))
}

/// What a client writes to a socket: requests with parts left out, repeated, or replaced by anything.
pub(super) fn wire() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => (method(), uri(vec!["/jobs".to_owned()])).prop_map(|(method, uri)| format!("{method} {uri} HTTP/1.1\r\n").into_bytes()),
        1 => vec(any::<u8>(), 0..60),
        1 => body(),
        1 => header_value().prop_map(|value| [b"idempotency-key: ", value.as_bytes(), b"\r\n"].concat()),
        1 => "[0-9a-fA-F]{1,20}\r\n".prop_map(String::into_bytes),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

const PIECES: &[&str] = &[
    "POST /jobs HTTP/1.1\r\n",
    "POST /jobs HTTP/1.1\r\nhost: x\r\ncontent-length: 32\r\n\r\n{\"start\": \"go!\", \"end\": \"stop!\"}",
    "GET /jobs?limit=1 HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET /jobs/%00%ff HTTP/1.0\r\n",
    "DELETE /dead?all=true HTTP/1.1\r\n",
    "GET * HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "CONNECT x:1 HTTP/1.1\r\n",
    "GET http://[::1/ HTTP/1.1\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "host: x\r\n",
    "content-length: 32\r\n",
    "content-length: 99999999999999999999\r\n",
    "content-length: -1\r\n",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "connection: close\r\n",
    "connection: upgrade\r\nupgrade: h2c\r\n",
    "expect: 100-continue\r\n",
    "\r\n",
    "\r\n\r\n",
    "20\r\n{\"start\": \"go!\", \"end\": \"stop!\"}\r\n0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "0\r\n\r\n",
    ": no name\r\n",
    "no colon\r\n",
    "\n\n",
];
