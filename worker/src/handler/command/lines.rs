//! Splits what a program writes into lines.

/// Collects bytes until a line is there. One that is too long comes in several pieces.
#[derive(Debug)]
pub(super) struct Lines {
    begun: Vec<u8>,
    longest: usize,
}

impl Lines {
    /// Lines of at most so many bytes.
    pub(super) fn of(longest: usize) -> Self {
        Self {
            begun: Vec::new(),
            longest,
        }
    }

    /// Takes in what comes next, and tells each line that is there now.
    pub(super) fn add(&mut self, mut bytes: &[u8], mut tell: impl FnMut(&str)) {
        while !bytes.is_empty() {
            let room = self.longest - self.begun.len();
            let next = &bytes[..room.min(bytes.len())];
            let end = next.iter().position(|byte| *byte == b'\n');
            self.begun.extend_from_slice(&next[..end.unwrap_or(next.len())]);
            bytes = &bytes[end.map_or(next.len(), |end| end + 1)..];
            if end.is_some() || self.begun.len() == self.longest {
                self.end(&mut tell);
            }
        }
    }

    /// Tells what was begun and has no end, if there is any.
    pub(super) fn end(&mut self, mut tell: impl FnMut(&str)) {
        let line = String::from_utf8_lossy(&self.begun);
        let line = line.trim_end();
        if !line.is_empty() {
            tell(line);
        }
        self.begun.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]], longest: usize) -> Vec<String> {
        let mut lines = Lines::of(longest);
        let mut told = Vec::new();
        let mut tell = |line: &str| told.push(line.to_owned());
        for piece in pieces {
            lines.add(piece, &mut tell);
        }
        lines.end(&mut tell);
        told
    }

    #[test]
    fn line_is_told_once_however_its_bytes_come() {
        let whole = lines(&[b"one\ntwo\r\n\nthree"], 10);
        assert_eq!(whole, ["one", "two", "three"]);
        assert_eq!(lines(&[b"o", b"ne\nt", b"wo\r\n\nthr", b"ee"], 10), whole);
    }

    #[test]
    fn long_line_comes_in_pieces_and_what_is_no_text_is_replaced() {
        assert_eq!(lines(&[b"abcdefgh\ni"], 3), ["abc", "def", "gh", "i"]);
        assert_eq!(lines(&[b"a\xffb"], 10), ["a\u{fffd}b"]);
    }
}
