//! Errors of starting a program: shortages of the machine, and everything else.

use std::{io, path::Path};

use rustix::io::Errno;

/// True if the machine is short of memory, processes or file descriptors, which it may have later. Everything else is wrong
/// with the program or its job, and will be wrong the next time.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOMEM | Errno::AGAIN | Errno::MFILE | Errno::NFILE)
    )
}

/// The operating system's reason, and advice.
pub(super) fn reason(program: &Path, error: &io::Error) -> String {
    let advice = match Errno::from_io_error(error) {
        Some(Errno::NOENT) if program.exists() => {
            ": what runs it is missing in the image: the interpreter of its first line, or its dynamic loader"
        }
        Some(Errno::NOEXEC) => {
            ": it is neither a program for this machine's processor nor a script that begins with #!"
        }
        Some(Errno::ACCESS) => ": this user may not run it, or its file system is mounted noexec",
        Some(Errno::TXTBSY) => ": another process is writing to it",
        Some(Errno::TOOBIG) => ": its arguments, its environment and the job's texts are too long together",
        Some(Errno::NOMEM | Errno::AGAIN | Errno::MFILE | Errno::NFILE) => {
            ": raise the limits of memory, processes or open files, or lower the concurrency"
        }
        _ => "",
    };
    format!("cannot start {}: {error}{advice}", program.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lack_of_resources_is_shortage() {
        for shortage in [Errno::NOMEM, Errno::AGAIN, Errno::MFILE, Errno::NFILE] {
            assert!(is_shortage(&shortage.into()), "{shortage}");
        }
        for other in [
            Errno::NOENT,
            Errno::NOEXEC,
            Errno::ACCESS,
            Errno::TXTBSY,
            Errno::TOOBIG,
            Errno::PERM,
        ] {
            assert!(!is_shortage(&other.into()), "{other}");
        }
        assert!(!is_shortage(&io::Error::other("no number")));
    }

    #[test]
    fn missing_program_is_not_blamed_on_its_interpreter() {
        let missing = |path: &str| reason(path.as_ref(), &Errno::NOENT.into());
        assert!(missing("/bin/sh").contains("what runs it is missing"));
        assert!(!missing("/no/such/program").contains("what runs it"));
    }
}
