//! What is filled into the pool's template.

use crds::{WorkerPool, redis::TlsSecretRef};
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerPort, HTTPGetAction, PodSpec, PodTemplateSpec, Probe, SecretVolumeSource, Volume,
        VolumeMount,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    Inputs,
    ending::{Ending, grace_seconds},
    environment::{TLS_DIRECTORY, environment},
    program::{self, Program},
    restricted,
};

/// The container that takes the jobs.
const CONTAINER: &str = "worker";
/// Where our worker serves its probes.
const PORT: i32 = 8080;
/// The volume with the files for TLS.
const TLS_VOLUME: &str = "workerpool-redis-tls";

/// Fills in what the template leaves out.
pub(super) fn fill(template: &mut PodTemplateSpec, pool: &WorkerPool, inputs: Inputs<'_>) {
    let worker = &pool.spec.worker;
    let pod = template.spec.get_or_insert_default();
    // Services named `redis` and `api` would otherwise inject REDIS_PORT=tcp://… and the like.
    pod.enable_service_links.get_or_insert(false);
    pod.automount_service_account_token.get_or_insert(false);
    let grace = *pod
        .termination_grace_period_seconds
        .get_or_insert(grace_seconds(worker).into());
    let container = worker_container(&mut pod.containers);
    fill_program(pod, container, pool, inputs.image);
    let tls = inputs.server.tls.as_ref().and(pool.spec.redis.tls.as_ref());
    if let Some(secret) = tls.and_then(|tls| tls.secret_ref.as_ref()) {
        mount_tls(pod, container, secret);
    }
    let env = pod.containers[container].env.get_or_insert_default();
    for variable in environment(pool, inputs, Ending::within(grace, worker)) {
        if !env.iter().any(|known| known.name == variable.name) {
            env.push(variable);
        }
    }
}

/// Whether the template has the container run somebody else's worker.
pub(super) fn runs_foreign(pool: &WorkerPool, image: &str) -> bool {
    let spec = pool
        .spec
        .template
        .as_ref()
        .and_then(|template| template.spec.as_ref());
    let containers = spec.map_or(&[][..], |spec| &spec.containers);
    let worker = containers.iter().find(|container| container.name == CONTAINER);
    let handler = pool.spec.worker.handler.as_ref();
    worker.is_some_and(|worker| Program::of(worker, handler, image) == Program::Foreign)
}

/// Its place in the list, where it is added if the template has none.
fn worker_container(containers: &mut Vec<Container>) -> usize {
    let found = containers
        .iter()
        .position(|container| container.name == CONTAINER);
    found.unwrap_or_else(|| {
        containers.push(Container {
            name: CONTAINER.to_owned(),
            ..Container::default()
        });
        containers.len() - 1
    })
}

/// What the container runs, and what goes with that.
fn fill_program(pod: &mut PodSpec, position: usize, pool: &WorkerPool, image: &str) {
    let handler = pool.spec.worker.handler.as_ref();
    let container = &mut pod.containers[position];
    match Program::of(container, handler, image) {
        Program::Foreign => {}
        Program::Stock => {
            container.image.get_or_insert_with(|| image.to_owned());
            enter(container, program::STOCK);
            container
                .security_context
                .get_or_insert_with(restricted::container);
            pod.security_context.get_or_insert_with(restricted::pod);
        }
        Program::Copied => {
            enter(container, program::COPY);
            program::copy_into(pod, position, image);
        }
    }
}

/// Makes our worker, which lies at `path`, what the container runs.
fn enter(container: &mut Container, path: &str) {
    container.command.get_or_insert_with(|| vec![path.to_owned()]);
    let ports = container.ports.get_or_insert_default();
    if !ports.iter().any(|port| port.container_port == PORT) {
        ports.push(ContainerPort {
            name: Some("http".to_owned()),
            container_port: PORT,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        });
    }
    container.readiness_probe.get_or_insert_with(|| Probe {
        period_seconds: Some(2),
        ..probe("/readyz")
    });
    container.liveness_probe.get_or_insert_with(|| Probe {
        period_seconds: Some(10),
        timeout_seconds: Some(5),
        ..probe("/healthz")
    });
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(PORT),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

fn mount_tls(pod: &mut PodSpec, container: usize, secret: &TlsSecretRef) {
    pod.volumes.get_or_insert_default().push(Volume {
        name: TLS_VOLUME.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.name.clone()),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    });
    let mounts = pod.containers[container].volume_mounts.get_or_insert_default();
    mounts.push(VolumeMount {
        name: TLS_VOLUME.to_owned(),
        mount_path: TLS_DIRECTORY.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    });
}
