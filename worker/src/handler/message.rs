//! A job as handlers outside of this process are told it.

use serde::Serialize;
use serde_json::value::RawValue;

use super::Context;

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    start: &'a str,
    end: &'a str,
    attempt: u32,
    queue: &'a str,
    payload: Option<&'a RawValue>,
}

/// One JSON object, in one line.
pub(super) fn message(context: &Context) -> Vec<u8> {
    let payload = context.payload.as_ref().map(queue::Payload::as_str);
    let message = Message {
        id: context.job.id.as_str(),
        start: &context.job.start,
        end: &context.job.end,
        attempt: context.attempt,
        queue: context.queue.as_str(),
        // It is JSON by its type; as it was written, numbers and all.
        payload: payload.and_then(|payload| serde_json::from_str(payload).ok()),
    };
    // Texts and numbers can always be written.
    let mut line = serde_json::to_vec(&message).unwrap_or_default();
    line.push(b'\n');
    line
}
