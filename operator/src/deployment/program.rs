//! Which program the container `worker` runs, and how our worker gets into an image that has it not.

use crds::handler::Handler;
use k8s_openapi::{
    api::core::v1::{Container, EmptyDirVolumeSource, PodSpec, SecurityContext, Volume, VolumeMount},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{
    names::{free_name, is_mounted},
    resources::WorkerResources,
    restricted,
};

/// Our worker in the operator's own image.
pub(super) const STOCK: &str = "/workerpool-worker";
/// The folder that holds a copy of our worker in somebody else's image, and nothing else.
const FOLDER: &str = "/workerpool";
/// The volume of that folder, and the init container that fills it.
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

/// Has our worker copied from `image` into the pod, before anything else in it starts. Answers where the copy lies in the
/// container, whose image needs nothing for it, not even a shell or a writable root. Names and folders of the template stay.
pub(super) fn copy_into(
    pod: &mut PodSpec,
    container: usize,
    image: &str,
    resources: &WorkerResources,
) -> String {
    let volumes = pod.volumes.get_or_insert_default();
    let mount = VolumeMount {
        name: free_name(NAME, |name| volumes.iter().any(|volume| volume.name == name)),
        mount_path: free_name(FOLDER, |path| is_mounted(&pod.containers[container], path)),
        ..VolumeMount::default()
    };
    volumes.push(volume(&mount.name));
    let copy = format!("{}/worker", mount.mount_path);
    let copier = Container {
        resources: resources.of_copier(pod),
        ..copier(pod, image, &copy, mount.clone())
    };
    pod.init_containers.get_or_insert_default().insert(0, copier);
    let mounts = pod.containers[container].volume_mounts.get_or_insert_default();
    mounts.push(VolumeMount {
        read_only: Some(true),
        ..mount
    });
    copy
}

fn copier(pod: &PodSpec, image: &str, copy: &str, mount: VolumeMount) -> Container {
    // The user that the pod names for its containers.
    let user = pod
        .security_context
        .as_ref()
        .and_then(|context| context.run_as_user);
    let others = pod.containers.iter().chain(pod.init_containers.iter().flatten());
    Container {
        name: free_name(NAME, |name| others.clone().any(|other| other.name == name)),
        image: Some(image.to_owned()),
        command: Some([STOCK, "copy-to", copy].map(str::to_owned).to_vec()),
        volume_mounts: Some(vec![mount]),
        security_context: Some(SecurityContext {
            // Where the pod is root as a whole; else the image or the pod says it, and a cluster may allow only its own choice.
            run_as_user: (user == Some(0)).then_some(USER),
            ..restricted::container_by_itself()
        }),
        ..Container::default()
    }
}

fn volume(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity("64Mi".to_owned())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}
