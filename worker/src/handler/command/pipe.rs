//! What is read from a program, to its last byte.

use std::io;

use tokio::net::unix::pipe::Receiver;
use tokio_util::sync::CancellationToken;

/// The most that lies in a pipe when its program has ended.
/// <https://man7.org/linux/man-pages/man7/pipe.7.html>, `pipe-max-size`
const MOST_LEFT: usize = 1024 * 1024;

/// An end of a pipe whose other end a program has, and perhaps others that it started. Their being alive does not hold
/// up its end: that is when the program has ended and what it wrote is read.
#[derive(Debug)]
pub(super) struct Pipe {
    receiver: Receiver,
    ended: CancellationToken,
    /// How much may still be read once it has ended.
    left: usize,
}

impl Pipe {
    /// `ended` is cancelled when the program has ended.
    pub(super) fn new(reader: io::PipeReader, ended: &CancellationToken) -> io::Result<Self> {
        Ok(Self {
            receiver: Receiver::from_owned_fd(reader.into())?,
            ended: ended.clone(),
            left: MOST_LEFT,
        })
    }

    /// Reads some; nothing at the end.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            tokio::select! {
                biased;
                () = self.ended.cancelled() => return self.read_what_is_left(buffer),
                ready = self.receiver.readable() => if ready.is_err() {
                    return 0;
                },
            }
            match self.receiver.try_read(buffer) {
                Ok(count) => return count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A pipe that cannot be read is at its end.
                Err(_) => return 0,
            }
        }
    }

    /// Not by way of the runtime: it knows only later what is there.
    fn read_what_is_left(&mut self, buffer: &mut [u8]) -> usize {
        let most = self.left.min(buffer.len());
        let count = rustix::io::read(&self.receiver, &mut buffer[..most]).unwrap_or(0);
        self.left -= count;
        count
    }
}
