//! Which program the container `worker` runs, and how our worker gets into an image that has it not.

use std::collections::BTreeMap;

use crds::handler::Handler;
use k8s_openapi::{
    api::core::v1::{
        Container, EmptyDirVolumeSource, PodSpec, ResourceRequirements, SecurityContext, Volume, VolumeMount,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::restricted;

/// Our worker in the operator's own image.
pub(super) const STOCK: &str = "/workerpool-worker";
/// Our worker, copied, in somebody else's.
pub(super) const COPY: &str = "/workerpool/worker";
/// The folder that holds the copy, and nothing else.
const FOLDER: &str = "/workerpool";
/// Its volume, and the init container that fills it.
const NAME: &str = "workerpool-worker";
/// The user of the operator's image.
const USER: i64 = 65532;

/// What the container `worker` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// Our worker, in an image that has it: it serves probes, and needs to be nobody.
    Stock,
    /// Our worker, copied into the user's image, where it runs the handler's command as whoever that image is for.
    Copied,
    /// Somebody else's worker. It may serve no probes, and may need to be root.
    Foreign,
}

impl Program {
    /// By what the template says of the container, and the image of the stock worker.
    pub(super) fn of(container: &Container, handler: Option<&Handler>, image: &str) -> Self {
        let own = container.image.as_deref().is_none_or(|named| named == image);
        if let Some(handler) = handler {
            let copied = handler.command.is_some() && !own;
            return if copied { Self::Copied } else { Self::Stock };
        }
        match container.command.as_ref().and_then(|command| command.first()) {
            Some(program) if program == STOCK => Self::Stock,
            None if own => Self::Stock,
            _ => Self::Foreign,
        }
    }
}

/// Has our worker copied from `image` into the pod, before anything else in it starts, and made the container's entry. Of the
/// container's image nothing is asked, not even a shell or a writable root.
pub(super) fn copy_into(pod: &mut PodSpec, container: usize, image: &str) {
    pod.volumes.get_or_insert_default().push(volume());
    let user = pod
        .security_context
        .as_ref()
        .and_then(|context| context.run_as_user);
    pod.init_containers
        .get_or_insert_default()
        .insert(0, copier(image, user));
    let container = &mut pod.containers[container];
    container.volume_mounts.get_or_insert_default().push(VolumeMount {
        read_only: Some(true),
        ..mount()
    });
}

/// `user` is who the pod says that its containers are.
fn copier(image: &str, user: Option<i64>) -> Container {
    Container {
        name: NAME.to_owned(),
        image: Some(image.to_owned()),
        command: Some([STOCK, "copy-to", COPY].map(str::to_owned).to_vec()),
        volume_mounts: Some(vec![mount()]),
        resources: Some(ResourceRequirements {
            requests: Some(amounts("10m", "16Mi")),
            limits: Some(amounts("500m", "64Mi")),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            // Where the pod is root as a whole; else the image or the pod says it, and a cluster may allow only its own choice.
            run_as_user: (user == Some(0)).then_some(USER),
            ..restricted::container_by_itself()
        }),
        ..Container::default()
    }
}

fn amounts(cpu: &str, memory: &str) -> BTreeMap<String, Quantity> {
    BTreeMap::from([
        ("cpu".to_owned(), Quantity(cpu.to_owned())),
        ("memory".to_owned(), Quantity(memory.to_owned())),
    ])
}

fn volume() -> Volume {
    Volume {
        name: NAME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity("64Mi".to_owned())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn mount() -> VolumeMount {
    VolumeMount {
        name: NAME.to_owned(),
        mount_path: FOLDER.to_owned(),
        ..VolumeMount::default()
    }
}
