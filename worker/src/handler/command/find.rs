use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Where the program lies: its path if it is one, else the first of its name on the `PATH`.
pub(super) fn find(program: &OsStr) -> Option<PathBuf> {
    if program.as_encoded_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return is_executable(&path).then_some(path);
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_found_by_name_and_by_path_and_must_be_one() {
        assert_eq!(find("/bin/sh".as_ref()), Some("/bin/sh".into()));
        assert!(find("sh".as_ref()).is_some_and(|path| path.ends_with("sh") && path.is_absolute()));
        for none in ["no-such-program", "/no/such/program", "/etc/passwd", "/etc", ""] {
            assert_eq!(find(none.as_ref()), None, "{none}");
        }
    }
}
