//! Names and folders that the user's template has not taken yet.

use std::iter;

use k8s_openapi::api::core::v1::Container;

/// The name, with a number behind it where it is taken.
pub(super) fn free_name(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2_u32..).map(|number| format!("{name}-{number}"));
    iter::once(name.to_owned())
        .chain(numbered)
        .find(|name| !is_taken(name))
        .unwrap_or_else(|| name.to_owned())
}

/// Whether the container has something at this path, or below it, where a read-only folder would have no room for it.
pub(super) fn is_mounted(container: &Container, path: &str) -> bool {
    let mut mounts = container.volume_mounts.iter().flatten();
    mounts.any(|mount| {
        let rest = mount.mount_path.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}
