//! Keeps web pages of other origins from writing.
//!
//! A browser sends the requests of any page to any address that it reaches, a port-forward on `localhost` included. Browsers say
//! whose page a request comes from, in `Sec-Fetch-Site` or `Origin`; other programs send neither. The rules are those of Go's
//! `http.CrossOriginProtection`.

use std::{fmt, str::FromStr};

use axum::http::{
    HeaderMap, HeaderName, Method, Request, StatusCode, Uri,
    header::{HOST, ORIGIN},
    uri::Authority,
};

use crate::error::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The longest origin that is read, in bytes: a host name has 253 at most.
const MAX_ORIGIN_BYTES: usize = 300;

/// Where a web page comes from: `scheme://host[:port]`, as the header `Origin` has it. Case and a port that is the scheme's
/// default make no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// The text is not an [`Origin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is scheme://host or scheme://host:port, such as https://jobs.example, without path and without *"
)]
pub struct InvalidOrigin;

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let (scheme, authority) = text.split_once("://").ok_or(InvalidOrigin)?;
        if text.len() > MAX_ORIGIN_BYTES || !is_scheme(scheme) {
            return Err(InvalidOrigin);
        }
        let scheme = scheme.to_ascii_lowercase();
        let authority: Authority = authority.parse().map_err(|_| InvalidOrigin)?;
        let (host, port) = host_and_port(&authority).ok_or(InvalidOrigin)?;
        // RFC 6454 has neither user names nor patterns in an origin, and no colon without a port.
        if host.is_empty() || host.contains('*') || authority.as_str().ends_with(':') {
            return Err(InvalidOrigin);
        }
        let port = port.or(default_port(&scheme));
        Ok(Self { scheme, host, port })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        write!(formatter, "{scheme}://{host}")?;
        match port.filter(|_| *port != default_port(scheme)) {
            Some(port) => write!(formatter, ":{port}"),
            None => Ok(()),
        }
    }
}

impl Origin {
    /// Whether a request to this host comes from its own pages. A proxy may have ended TLS, so the request's scheme is unknown: a host
    /// without a port has the default port of the origin's scheme, and the schemes are not compared.
    fn is_of(&self, host: &Authority) -> bool {
        host_and_port(host).is_some_and(|(name, port)| {
            name == self.host && port.or(default_port(&self.scheme)) == self.port && self.port.is_some()
        })
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// In lower case. `None` for user names and for what is not a port.
fn host_and_port(authority: &Authority) -> Option<(String, Option<u16>)> {
    let host = authority.host();
    let port = match authority.as_str().strip_prefix(host)? {
        "" | ":" => None,
        rest => {
            let digits = rest.strip_prefix(':')?;
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            Some(digits.parse().ok().filter(|_| is_number)?)
        }
    };
    Some((host.to_ascii_lowercase(), port))
}

/// A web page of another origin asked for more than to read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CrossOrigin {
    #[error("web pages of {0} may not do this; to allow it, add {0} to WORKERPOOL_ALLOWED_ORIGINS")]
    Refused(Origin),
    #[error(
        "web pages may do this from the API's own origin and from those in WORKERPOOL_ALLOWED_ORIGINS alone, and this request \
         does not say that it comes from one of them"
    )]
    Unknown,
}

impl From<CrossOrigin> for Problem {
    fn from(refused: CrossOrigin) -> Self {
        Self::new(StatusCode::FORBIDDEN, refused.to_string())
    }
}

/// Lets through what only reads, what comes from no web page or from one of the API's own, and what comes from an allowed origin.
pub(crate) fn check<B>(request: &Request<B>, allowed: &[Origin]) -> Result<(), CrossOrigin> {
    let headers = request.headers();
    if is_safe(request.method()) || is_own(request.uri(), headers) {
        return Ok(());
    }
    match sent_origin(headers) {
        SentOrigin::One(origin) if allowed.contains(&origin) => Ok(()),
        SentOrigin::One(origin) => Err(CrossOrigin::Refused(origin)),
        SentOrigin::Absent | SentOrigin::Invalid => Err(CrossOrigin::Unknown),
    }
}

/// Methods that change nothing, here as in RFC 9110, section 9.2.1.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn is_own(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter().peekable();
    if sites.peek().is_some() {
        return sites.all(|site| site == "same-origin" || site == "none");
    }
    match sent_origin(headers) {
        SentOrigin::Absent => true,
        SentOrigin::One(origin) => host(uri, headers).is_some_and(|host| origin.is_of(&host)),
        SentOrigin::Invalid => false,
    }
}

enum SentOrigin {
    Absent,
    One(Origin),
    /// Several, `null`, or no origin at all.
    Invalid,
}

fn sent_origin(headers: &HeaderMap) -> SentOrigin {
    let mut values = headers.get_all(ORIGIN).iter();
    let origin = match (values.next(), values.next()) {
        (None, _) => return SentOrigin::Absent,
        (Some(value), None) => value.to_str().ok().and_then(|text| text.parse().ok()),
        (Some(_), Some(_)) => None,
    };
    origin.map_or(SentOrigin::Invalid, SentOrigin::One)
}

/// The host that the request is for. A target in absolute form has precedence over `Host` (RFC 9112, section 3.2.2).
fn host(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    if let Some(authority) = uri.authority() {
        return Some(authority.clone());
    }
    let mut values = headers.get_all(HOST).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Authority::try_from(value.as_bytes()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_printed_as_browsers_send_it() {
        for (text, printed) in [
            ("https://jobs.example", "https://jobs.example"),
            ("HTTPS://Jobs.Example:443", "https://jobs.example"),
            ("http://jobs.example:443", "http://jobs.example:443"),
            ("http://[::1]:5000", "http://[::1]:5000"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn text_that_is_no_origin_is_refused() {
        let long = format!("https://{}", "a".repeat(MAX_ORIGIN_BYTES));
        for text in [
            "",
            "*",
            "null",
            "jobs.example",
            "https://",
            "https://*",
            "https://*.example",
            "https://jobs.example/",
            "://a",
            "https://jobs.example/ui",
            "https://a?b",
            "https://a#b",
            "https://user@jobs.example",
            "https://a:",
            "https://a:port",
            "https://a:65536",
            "https://a:+80",
            "https://a b",
            "https://[::1",
            "1a://b",
            "https://a,https://b",
            &long,
        ] {
            assert_eq!(text.parse::<Origin>(), Err(InvalidOrigin), "{text}");
        }
    }
}
