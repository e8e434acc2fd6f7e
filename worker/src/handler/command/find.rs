use std::{
    env,
    ffi::{OsStr, OsString},
    fs::File,
    io::Read,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use super::Error;

/// Bytes of a file that the kernel reads to find its interpreter.
/// <https://man7.org/linux/man-pages/man2/execve.2.html>, `BINPRM_BUF_SIZE`
const FIRST_LINE: u64 = 256;

/// The path of the program: its own if it has one, else the first of its name on the `PATH`. A script's interpreter must be
/// there too.
pub(super) fn find(program: &OsStr) -> Result<PathBuf, Error> {
    let path = locate(program).ok_or_else(|| Error::NotFound(program.to_owned()))?;
    match interpreter(&path) {
        Some(interpreter) if !is_executable(&interpreter) => Err(Error::NoInterpreter {
            script: path,
            interpreter,
        }),
        _ => Ok(path),
    }
}

fn locate(program: &OsStr) -> Option<PathBuf> {
    if program.as_encoded_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return is_executable(&path).then_some(path);
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| is_executable(path))
}

/// True if this user may run the file, and its file system lets programs run.
fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// The interpreter of a script; `None` for a file that is no script, or cannot be read. Binaries are not judged: the kernel may
/// have a runner even for foreign ones (binfmt_misc).
fn interpreter(path: &Path) -> Option<PathBuf> {
    let mut begin = Vec::new();
    let file = File::open(path).ok()?;
    file.take(FIRST_LINE).read_to_end(&mut begin).ok()?;
    let line = begin.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let interpreter = line
        .split(|byte| matches!(byte, b' ' | b'\t'))
        .find(|word| !word.is_empty())?;
    Some(OsString::from_vec(interpreter.to_owned()).into())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn program_is_found_by_name_and_by_path_and_must_be_one() {
        assert_eq!(find("/bin/sh".as_ref()).unwrap(), Path::new("/bin/sh"));
        assert!(find("sh".as_ref()).is_ok_and(|path| path.ends_with("sh") && path.is_absolute()));
        for none in ["no-such-program", "/no/such/program", "/etc/passwd", "/etc", ""] {
            let error = find(none.as_ref()).unwrap_err();
            assert!(matches!(error, Error::NotFound(_)), "{none}: {error}");
        }
    }

    #[test]
    fn script_needs_its_interpreter() {
        let script = env::temp_dir().join(format!("find-{}", std::process::id()));
        let missing = |first_line: &str| {
            fs::write(&script, format!("{first_line}\ntrue\n")).unwrap();
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
            match find(script.as_os_str()) {
                Ok(_) => None,
                Err(Error::NoInterpreter { interpreter, .. }) => Some(interpreter),
                Err(other) => panic!("{other}"),
            }
        };
        for good in [
            "#!/bin/sh",
            "#! \t/bin/sh -e",
            "#!/usr/bin/env no-such-program",
            "true",
            "#!",
        ] {
            assert_eq!(missing(good), None, "{good}");
        }
        for (bad, interpreter) in [
            ("#!/bin/no-such-shell", "/bin/no-such-shell"),
            ("#! /etc/passwd -e", "/etc/passwd"),
            ("#!/bin/sh\r", "/bin/sh\r"),
        ] {
            assert_eq!(missing(bad), Some(interpreter.into()), "{bad}");
        }
        fs::remove_file(script).unwrap();
    }
}
