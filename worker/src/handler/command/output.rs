//! What a program writes: its result, and what it says of it.

use queue::JobId;

use super::{lines::Lines, pipe::Pipe};

/// How much is read at once, in bytes.
const CHUNK: usize = 8 * 1024;

/// The longest line of the log, in bytes.
const LONGEST_LINE: usize = 8 * 1024;

/// How much of the end of stderr goes into an error, in bytes: with what is said before it, it is to be within the first KiB.
const TAIL: usize = 900;

/// The result is longer than it may be.
#[derive(Debug)]
pub(super) struct TooLong;

/// Reads the result, of at most so many bytes.
pub(super) async fn result(mut stdout: Pipe, most: usize) -> Result<Vec<u8>, TooLong> {
    let mut result = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match stdout.read(&mut chunk).await {
            0 => return Ok(result),
            count if result.len() + count > most => return Err(TooLong),
            count => result.extend_from_slice(&chunk[..count]),
        }
    }
}

/// Logs stderr line by line, and answers its end.
pub(super) async fn errors(mut stderr: Pipe, job: &JobId) -> String {
    let mut lines = Lines::of(LONGEST_LINE);
    let log = |line: &str| tracing::info!(target: "worker::program", %job, "{line}");
    let mut tail = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match stderr.read(&mut chunk).await {
            0 => break,
            count => {
                lines.add(&chunk[..count], log);
                tail.extend_from_slice(&chunk[..count]);
                tail.drain(..tail.len().saturating_sub(TAIL));
            }
        }
    }
    lines.end(log);
    String::from_utf8_lossy(whole_characters(&tail)).trim().to_owned()
}

/// Without the rest of a character whose beginning was cut off.
fn whole_characters(text: &[u8]) -> &[u8] {
    let rest = text.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80);
    &text[rest.count()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_begins_with_a_whole_character() {
        let text = "a€b".as_bytes();
        assert_eq!(whole_characters(text), text);
        for cut in 2..=4 {
            assert_eq!(whole_characters(&text[cut..]), b"b");
        }
    }
}
