//! Starts a program, and gives it its job.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{self, Stdio},
};

use queue::Payload;
use tokio::net::unix::pipe::Sender;
use tokio_util::sync::CancellationToken;

use super::{Command, StdinContent, children::Leader, pipe::Pipe};
use crate::handler::{Context, message::message};

/// What a new pipe takes at least without its other end being read: a page.
/// <https://man7.org/linux/man-pages/man7/pipe.7.html>
const PIPE_TAKES: usize = 4096;

/// The longest text that is put into the environment, in bytes: the kernel takes 128 KiB, name and all.
/// <https://man7.org/linux/man-pages/man2/execve.2.html>, `MAX_ARG_STRLEN`
const LONGEST_VARIABLE: usize = 120 * 1024;

const _: () = assert!(Payload::MAX_BYTES <= LONGEST_VARIABLE);

/// Variables of this prefix configure the worker, its password among them, and are not the program's.
const OURS: &str = "WORKERPOOL_";

/// A program that was started, and our ends of its pipes.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) leader: Leader,
    pub(super) stdin: Option<Stdin>,
    pub(super) stdout: Pipe,
    pub(super) stderr: Pipe,
    pub(super) reports: Pipe,
    /// To be cancelled when the leader has ended: what reads the pipes comes to an end then.
    pub(super) ended: CancellationToken,
}

/// What the program is still to be told.
#[derive(Debug)]
pub(super) struct Stdin {
    pipe: Sender,
    rest: Vec<u8>,
}

impl Program {
    /// Starts it.
    pub(super) fn start(command: &Command, context: &Context) -> io::Result<Self> {
        let ended = CancellationToken::new();
        let (their_stdin, stdin) = stdin(command.stdin, context)?;
        let (stdout, their_stdout) = io::pipe()?;
        let (stderr, their_stderr) = io::pipe()?;
        let (reports, their_reports) = io::pipe()?;
        let mut process = process::Command::new(&command.path);
        process
            .arg0(&command.argv[0])
            .args(&command.argv[1..])
            .process_group(0)
            .stdin(their_stdin)
            .stdout(their_stdout)
            .stderr(their_stderr);
        for name in &command.hidden {
            process.env_remove(name);
        }
        let payload = payload(command.stdin, context);
        for (name, value) in variables(context).into_iter().chain(payload) {
            if value.len() <= LONGEST_VARIABLE && !value.contains('\0') {
                process.env(name, value);
            }
        }
        let (stdout, stderr) = (Pipe::new(stdout, &ended)?, Pipe::new(stderr, &ended)?);
        let reports = Pipe::new(reports, &ended)?;
        Ok(Self {
            leader: command.children.start(&mut process, their_reports)?,
            stdin,
            stdout,
            stderr,
            reports,
            ended,
        })
    }
}

impl Stdin {
    /// Writes what fits, and keeps the rest.
    fn feed(mut pipe: io::PipeWriter, mut message: Vec<u8>) -> io::Result<Option<Self>> {
        let first = message.len().min(PIPE_TAKES);
        pipe.write_all(&message[..first])?;
        message.drain(..first);
        if message.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            pipe: Sender::from_owned_fd(pipe.into())?,
            rest: message,
        }))
    }

    /// Writes the rest, as fast as the program reads it. One that does not want to read it need not.
    pub(super) async fn write(self) {
        let mut rest = &self.rest[..];
        while !rest.is_empty() && self.pipe.writable().await.is_ok() {
            match self.pipe.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

/// The program's end of its standard input, and ours if the job does not fit into the pipe.
fn stdin(content: StdinContent, context: &Context) -> io::Result<(Stdio, Option<Stdin>)> {
    match content {
        StdinContent::Empty => Ok((Stdio::null(), None)),
        StdinContent::Job => {
            let (theirs, ours) = io::pipe()?;
            // Before it runs: its input is there then, and short jobs need no more.
            let rest = Stdin::feed(ours, message(context))?;
            Ok((theirs.into(), rest))
        }
    }
}

/// The variable with the payload, which is not on stdin. The longest payload fits.
fn payload(stdin: StdinContent, context: &Context) -> Option<(&'static str, String)> {
    let payload = context.payload.as_ref().map(Payload::as_str)?;
    (stdin == StdinContent::Empty).then(|| ("JOB_PAYLOAD", payload.to_owned()))
}

fn variables(context: &Context) -> [(&'static str, String); 5] {
    [
        ("JOB_ID", context.job.id.to_string()),
        ("JOB_START", context.job.start.clone()),
        ("JOB_END", context.job.end.clone()),
        ("JOB_ATTEMPT", context.attempt.to_string()),
        ("JOB_QUEUE", context.queue.to_string()),
    ]
}

/// The variables of this process that programs do not get.
pub(super) fn hidden(names: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let ours = |name: &OsString| OsStr::as_encoded_bytes(name).starts_with(OURS.as_bytes());
    names.filter(ours).collect()
}
