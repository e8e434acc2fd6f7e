//! The Secrets of the pool's Redis, as files in its pods: the kubelet renews them, and the worker reads them at each login.

use crds::WorkerPool;
use k8s_openapi::api::core::v1::{PodSpec, SecretVolumeSource, Volume, VolumeMount};
use queue::Server;

use super::{
    names::{free_name, is_mounted},
    program::Program,
};

/// A folder of the container, and the volume that is mounted there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Folder {
    path: &'static str,
    volume: &'static str,
}

impl Folder {
    /// The file that holds the entry of this key.
    pub(super) fn file(self, key: &str) -> String {
        format!("{}/{key}", self.path)
    }
}

/// The certificates.
pub(super) const TLS: Folder = Folder {
    path: "/var/run/workerpool/redis-tls",
    volume: "workerpool-redis-tls",
};
/// The login to the server.
pub(super) const LOGIN: Folder = Folder {
    path: "/var/run/workerpool/redis-credentials",
    volume: "workerpool-redis-credentials",
};
/// The login to the sentinels.
pub(super) const SENTINEL_LOGIN: Folder = Folder {
    path: "/var/run/workerpool/redis-sentinel-credentials",
    volume: "workerpool-redis-sentinel-credentials",
};

/// Mounts each Secret that the program reads as files. Other programs than ours get a login by their environment.
pub(super) fn mount(
    pod: &mut PodSpec,
    container: usize,
    pool: &WorkerPool,
    server: &Server,
    program: Program,
) {
    let redis = &pool.spec.redis;
    if program != Program::Foreign {
        if let Some(secret) = &redis.credentials_secret_ref {
            mount_one(pod, container, LOGIN, &secret.name);
        }
        let sentinel = redis.sentinel.as_ref();
        if let Some(secret) = sentinel.and_then(|sentinel| sentinel.credentials_secret_ref.as_ref()) {
            mount_one(pod, container, SENTINEL_LOGIN, &secret.name);
        }
    }
    let tls = server.tls.as_ref().and(redis.tls.as_ref());
    if let Some(secret) = tls.and_then(|tls| tls.secret_ref.as_ref()) {
        mount_one(pod, container, TLS, &secret.name);
    }
}

/// Mounts a whole Secret, which must exist, with the usual mode (0644): any user of the pod may read it. What the template has
/// mounted there itself stays.
fn mount_one(pod: &mut PodSpec, container: usize, folder: Folder, secret: &str) {
    if is_mounted(&pod.containers[container], folder.path) {
        return;
    }
    let volumes = pod.volumes.get_or_insert_default();
    let name = free_name(folder.volume, |name| {
        volumes.iter().any(|volume| volume.name == name)
    });
    volumes.push(Volume {
        name: name.clone(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    });
    let mounts = pod.containers[container].volume_mounts.get_or_insert_default();
    mounts.push(VolumeMount {
        name,
        mount_path: folder.path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    });
}
