//! Reads Redis' append-only file: every change that there was, in its order, scripts' included.
//!
//! It is the observer that no script of ours can talk to: what Redis did, not what the protocol says of it.
//! (Format: the commands as a client would send them, <https://redis.io/docs/latest/develop/reference/protocol-spec/>;
//! a script's or a transaction's lie between MULTI and EXEC, but one alone lies bare.)

use std::io::{self, BufRead};

/// One command's name and arguments.
pub type Command = Vec<Vec<u8>>;

/// What took effect together: a script, a transaction, or one command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The commands, SELECT included.
    pub commands: Vec<Command>,
    /// Whether it lay between MULTI and EXEC.
    pub together: bool,
    /// Where in the file it ends, in bytes.
    pub end: u64,
}

/// The longest argument that is believed; anything longer is no file of Redis.
const MAX_ARGUMENT: usize = 64 << 20;

/// Reads steps one after the other. A step that the file does not hold whole is not one: Redis drops it, too.
pub struct Steps<R> {
    file: R,
    offset: u64,
}

impl<R: BufRead> Steps<R> {
    /// Reads `file`, whose first byte is at `offset` of the whole.
    pub fn new(file: R, offset: u64) -> Self {
        Self { file, offset }
    }

    /// The next step, `None` at the end.
    ///
    /// # Errors
    /// If the file cannot be read, or is no append-only file.
    pub fn step(&mut self) -> io::Result<Option<Step>> {
        let Some(first) = self.command()? else {
            return Ok(None);
        };
        if !is(&first, b"MULTI") {
            return Ok(Some(Step {
                commands: vec![first],
                together: false,
                end: self.offset,
            }));
        }
        let mut commands = Vec::new();
        while let Some(command) = self.command()? {
            if is(&command, b"EXEC") {
                return Ok(Some(Step {
                    commands,
                    together: true,
                    end: self.offset,
                }));
            }
            commands.push(command);
        }
        Ok(None)
    }

    fn command(&mut self) -> io::Result<Option<Command>> {
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            match line.split_first() {
                // Annotations: when something was written.
                Some((b'#', _)) => {}
                Some((b'*', count)) => return self.arguments(number(count)?),
                _ => return Err(broken("a command begins with *")),
            }
        }
    }

    fn arguments(&mut self, count: usize) -> io::Result<Option<Command>> {
        let mut command = Vec::with_capacity(count.min(1_024));
        for _ in 0..count {
            let Some(line) = self.line()? else { return Ok(None) };
            let Some((b'$', length)) = line.split_first() else {
                return Err(broken("an argument begins with $"));
            };
            let length = number(length)?;
            let mut argument = vec![0; length + 2];
            match self.file.read_exact(&mut argument) {
                Ok(()) => self.offset += argument.len() as u64,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            }
            argument.truncate(length);
            command.push(argument);
        }
        Ok(Some(command))
    }

    /// A line without its end; `None` if the file ends before the line does.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        self.file.read_until(b'\n', &mut line)?;
        self.offset += line.len() as u64;
        Ok(line.strip_suffix(b"\r\n").map(<[u8]>::to_vec))
    }
}

fn is(command: &Command, name: &[u8]) -> bool {
    command
        .first()
        .is_some_and(|first| first.eq_ignore_ascii_case(name))
}

fn number(digits: &[u8]) -> io::Result<usize> {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .filter(|number| *number <= MAX_ARGUMENT)
        .ok_or_else(|| broken("a length is a number"))
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no append-only file: {what}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Commands as Redis would write them; `MULTI` and `EXEC` are given as commands.
    pub(crate) fn written(commands: &[&[&str]]) -> Vec<u8> {
        let mut file = Vec::new();
        for command in commands {
            file.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
            for argument in *command {
                file.extend_from_slice(format!("${}\r\n{argument}\r\n", argument.len()).as_bytes());
            }
        }
        file
    }

    fn steps(file: &[u8]) -> Vec<Step> {
        let mut steps = Steps::new(file, 0);
        std::iter::from_fn(|| steps.step().unwrap()).collect()
    }

    #[test]
    fn script_is_one_step_and_a_lone_command_another() {
        let file = written(&[
            &["SELECT", "2"],
            &["MULTI"],
            &["SET", "a", "1\r\n2"],
            &["SET", "b", "2"],
            &["EXEC"],
            &["LPOP", "c"],
        ]);
        let read = steps(&file);
        let sizes: Vec<_> = read
            .iter()
            .map(|step| (step.commands.len(), step.together))
            .collect();
        assert_eq!(sizes, [(1, false), (2, true), (1, false)]);
        assert_eq!(read[1].commands[0][2], b"1\r\n2");
        assert_eq!(read.last().unwrap().end, file.len() as u64);
    }

    #[test]
    fn annotations_are_passed_over() {
        let mut file = b"#TS:1700000000\r\n".to_vec();
        file.extend(written(&[&["PING"]]));
        assert_eq!(steps(&file).len(), 1);
    }

    #[test]
    fn step_that_was_cut_off_is_none_wherever_the_cut_is() {
        let whole = written(&[&["SET", "a", "1"]]);
        let file = [
            whole.clone(),
            written(&[&["MULTI"], &["SET", "b", "2"], &["EXEC"]]),
        ]
        .concat();
        for cut in whole.len()..file.len() {
            let read = steps(&file[..cut]);
            assert_eq!(read.len(), 1, "cut at {cut}");
            assert_eq!(read[0].end, whole.len() as u64);
        }
    }

    #[test]
    fn another_files_bytes_are_refused() {
        assert!(Steps::new(&b"REDIS0010\r\n"[..], 0).step().is_err());
        assert!(Steps::new(&b"*1\r\nSET\r\n"[..], 0).step().is_err());
    }
}
