//! Answers, printed as Python's `json.dumps` prints them: as `POST /jobs` always was.

use std::io;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use queue::{Job, Payload, Progress};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{ser::Formatter, value::RawValue};

use crate::python_json::escape;

/// A JSON document with a status.
pub(crate) fn answer(status: StatusCode, document: &impl Serialize) -> Response {
    let mut response = json(print(document));
    *response.status_mut() = status;
    response
}

/// 200 with a JSON document that is already written.
pub(crate) fn json(document: String) -> Response {
    let mut response = Response::new(Body::from(document));
    let content_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// The document and a newline.
fn print(document: &impl Serialize) -> String {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Python);
    // Maps with text for keys always serialize, and writing to a Vec cannot fail.
    let _ = document.serialize(&mut serializer);
    out.push(b'\n');
    String::from_utf8(out).unwrap_or_default()
}

/// A job as every route prints it: the original's four members in its order, then `worker` once one has it, then what
/// the original did not know, if it is there. Redis keeps text only, so a number that was submitted is a string here.
pub(crate) struct Shown<'a>(pub(crate) &'a Job);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let job = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", job.status.as_str())?;
        map.serialize_entry("start", &job.start)?;
        map.serialize_entry("end", &job.end)?;
        map.serialize_entry("id", job.id.as_str())?;
        if let Some(worker) = &job.worker {
            map.serialize_entry("worker", worker)?;
        }
        if let Some(progress) = &job.progress {
            map.serialize_entry("progress", &Done(progress))?;
        }
        if let Some(payload) = &job.payload {
            map.serialize_entry("payload", &verbatim(payload))?;
        }
        map.end()
    }
}

struct Done<'a>(&'a Progress);

impl Serialize for Done<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("percent", &self.0.percent)?;
        map.serialize_entry("message", &self.0.message)?;
        map.end()
    }
}

/// As its user wrote it, spaces, escapes and digits; `null` should somebody have put into Redis what is not JSON.
fn verbatim(payload: &Payload) -> Option<&RawValue> {
    serde_json::from_str(payload.as_str()).ok()
}

/// `json.dumps` with its defaults: `", "`, `": "`, nothing but printable ASCII.
struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        // Quotes, backslashes and control characters below the space never get here.
        let mut escaped = String::with_capacity(text.len());
        escape(text, &mut escaped);
        out.write_all(escaped.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use queue::{JobId, Status};

    use super::*;

    #[test]
    fn job_is_printed_as_python_prints_it() {
        let job = Job {
            id: JobId::new("1").unwrap(),
            status: Status::InProgress,
            start: "é\n\"\\\u{7f}\u{1}😀".to_owned(),
            end: String::new(),
            worker: Some("10.0.0.7".to_owned()),
            submitted_ms: None,
            progress: None,
            payload: None,
        };
        let jobs = [Shown(&job)];
        // What CPython 3.11 printed.
        let python = r#"[{"status": "in progress", "start": "\u00e9\n\"\\\u007f\u0001\ud83d\ude00", "end": "", "id": "1", "worker": "10.0.0.7"}]"#;
        assert_eq!(print(&jobs), format!("{python}\n"));
        assert_eq!(print(&(1, None::<u8>, [0; 0])), "[1, null, []]\n");
    }
}
