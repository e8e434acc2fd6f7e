//! What a program tells on its descriptor 3.

use serde::Deserialize;

use super::{lines::Lines, pipe::Pipe};
use crate::handler::{Context, whole_percent};

/// The longest line that is read, in bytes: a message of a KiB, and what is around it in JSON.
const LONGEST_LINE: usize = 4 * 1024;

/// One line of it: a JSON object, or a percentage and a message as text.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    percent: Option<f64>,
    message: Option<String>,
    content_type: Option<String>,
}

/// Passes progress on, and answers the content type that was told last.
pub(super) async fn follow(mut pipe: Pipe, context: &Context) -> Option<String> {
    let mut lines = Lines::of(LONGEST_LINE);
    let mut content_type = None;
    let mut tell = |line: &str| {
        let line = parse(line);
        if line.content_type.is_some() {
            content_type = line.content_type;
        }
        if line.percent.is_some() || line.message.is_some() {
            context.progress(line.percent.map(whole_percent), line.message.unwrap_or_default());
        }
    };
    let mut chunk = vec![0; 1024];
    loop {
        match pipe.read(&mut chunk).await {
            0 => break,
            count => lines.add(&chunk[..count], &mut tell),
        }
    }
    lines.end(tell);
    content_type
}

fn parse(line: &str) -> Line {
    if let Ok(line) = serde_json::from_str(line) {
        return line;
    }
    let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let number = first.strip_suffix('%').unwrap_or(first).parse();
    let message = if number.is_ok() { rest } else { line };
    Line {
        percent: number.ok(),
        message: Some(message.trim().to_owned()),
        content_type: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(percent: Option<f64>, message: &str) -> Line {
        Line {
            percent,
            message: Some(message.to_owned()),
            content_type: None,
        }
    }

    #[test]
    fn line_of_text_is_a_percentage_and_a_message_or_one_of_them() {
        assert_eq!(parse("42 resizing it"), told(Some(42.0), "resizing it"));
        assert_eq!(parse("42%\tresizing"), told(Some(42.0), "resizing"));
        assert_eq!(parse("resizing it"), told(None, "resizing it"));
        assert_eq!(parse("{not json"), told(None, "{not json"));
    }

    #[test]
    fn line_of_json_tells_what_it_names() {
        assert_eq!(
            parse(r#"{"percent": 42.5, "message": "resizing", "more": 1}"#),
            told(Some(42.5), "resizing")
        );
        assert_eq!(
            parse(r#"{"contentType": "image/png"}"#).content_type.as_deref(),
            Some("image/png")
        );
    }

    #[test]
    fn lone_number_is_a_percentage() {
        assert_eq!(parse("42").percent, Some(42.0));
        assert_eq!(parse("42").message.as_deref(), Some(""));
    }
}
