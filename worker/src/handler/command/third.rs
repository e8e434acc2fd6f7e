use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::io::{DupFlags, dup2, dup3};

/// The descriptor on which programs tell their progress: 3, the first that has no other use.
///
/// The standard library gives a program its descriptors 0 to 2 and no more; any other one is copied in code of one's own
/// between fork and exec, which is unsafe and makes it give up `posix_spawn` for a fork several times as slow. So the
/// number is taken in *this* process: 3 lies unused, and is the program's pipe for the moment in which it is started.
#[derive(Debug)]
pub struct Third {
    slot: OwnedFd,
    idle: OwnedFd,
}

impl Third {
    const NUMBER: i32 = 3;

    /// Takes the number. To be called first in `main`, before a runtime or a file has it.
    ///
    /// # Errors
    /// If it is taken: by this program, or by who started it.
    pub fn reserve() -> io::Result<Self> {
        let slot = OwnedFd::from(File::open("/dev/null")?);
        if slot.as_raw_fd() != Self::NUMBER {
            return Err(io::Error::other(
                "file descriptor 3, on which programs tell their progress, is open already: start the worker with it \
                 closed (in a shell: 3>&-)",
            ));
        }
        let idle = slot.try_clone()?;
        Ok(Self { slot, idle })
    }

    /// Calls `start`, whose programs have `pipe` as their descriptor 3.
    pub(super) fn lend<T>(&mut self, pipe: OwnedFd, start: impl FnOnce() -> T) -> io::Result<T> {
        dup2(pipe, &mut self.slot)?;
        let started = start();
        // Programs that are not ours to start do not get it.
        dup3(&self.idle, &mut self.slot, DupFlags::CLOEXEC)?;
        Ok(started)
    }
}
