//! What `dev/install` puts in place for tests.

use std::{env, ffi::OsString, path::PathBuf};

/// Where everything lies that is built or kept outside the repository.
pub fn cache() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value: &OsString| !value.is_empty());
    set("WORKERPOOL_CACHE").map_or_else(
        || {
            let base = set("XDG_CACHE_HOME").map(PathBuf::from);
            let home = || PathBuf::from(set("HOME").unwrap_or_default()).join(".cache");
            base.unwrap_or_else(home).join("workerpool")
        },
        PathBuf::from,
    )
}

/// Node, beside the folder with BullMQ's modules; `WORKERPOOL_NODE` names another.
pub fn node() -> PathBuf {
    env::var_os("WORKERPOOL_NODE").map_or_else(|| cache().join("node/node"), PathBuf::from)
}

/// The interpreter with the original's packages, `hotqueue` and `redis`, and with RQ and Celery; `WORKERPOOL_PYTHON` names
/// another.
pub fn python() -> PathBuf {
    env::var_os("WORKERPOOL_PYTHON").map_or_else(|| cache().join("python/bin/python"), PathBuf::from)
}
