//! Copies this program elsewhere, for images that have no `cp`.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// Copies this executable to `path`, for everybody to run. It is there whole or not at all.
///
/// # Errors
/// If it cannot be written.
pub fn copy_to(path: &Path) -> anyhow::Result<()> {
    // By this name it can be read even when it is deleted.
    let partial = partial(path);
    let copy = fs::copy("/proc/self/exe", &partial)
        .and_then(|_| fs::set_permissions(&partial, fs::Permissions::from_mode(0o755)))
        .and_then(|()| fs::rename(&partial, path));
    if copy.is_err() {
        // Nothing is there if it could not even be created.
        let _ = fs::remove_file(&partial);
    }
    copy.with_context(|| format!("cannot copy this program to {}", path.display()))
}

/// Beside it, so that both are on one file system.
fn partial(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".partial");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_copy_says_where_and_leaves_nothing() {
        let error = copy_to(Path::new("/no/such/folder/worker")).unwrap_err();
        assert!(
            format!("{error:#}").contains("/no/such/folder/worker"),
            "{error:#}"
        );
        let folder = std::env::temp_dir().join(format!("copy-{}", std::process::id()));
        fs::create_dir_all(folder.join("taken/full")).unwrap();
        assert!(copy_to(&folder.join("taken")).is_err());
        let left: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .flatten()
            .map(|file| file.file_name())
            .collect();
        assert_eq!(left, ["taken"]);
        fs::remove_dir_all(folder).unwrap();
    }
}
