//! What is filled into the pool's template.

use crds::WorkerPool;
use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec, PodTemplateSpec};

use super::{
    Inputs,
    ending::{Ending, grace_seconds},
    environment::environment,
    listener,
    program::{self, Program},
    restricted, secrets,
};

/// The container that takes the jobs.
pub(super) const CONTAINER: &str = "worker";

/// Fills in what the template leaves out.
pub(super) fn fill(template: &mut PodTemplateSpec, pool: &WorkerPool, inputs: Inputs<'_>) {
    let worker = &pool.spec.worker;
    let pod = template.spec.get_or_insert_default();
    let grace = *pod
        .termination_grace_period_seconds
        .get_or_insert(grace_seconds(worker).into());
    let container = worker_container(&mut pod.containers);
    let program = Program::of(&pod.containers[container], worker.handler.as_ref(), inputs.image);
    fill_program(pod, container, program, pool, inputs);
    secrets::mount(pod, container, pool, inputs.server, program);
    let env = pod.containers[container].env.get_or_insert_default();
    for variable in environment(pool, inputs, Ending::within(grace, worker), program) {
        if !is_set(env, &variable.name) {
            env.push(variable);
        }
    }
}

/// Whether the template sets this itself. A file would beat a variable: where the variable is the user's, no file is named.
fn is_set(env: &[EnvVar], name: &str) -> bool {
    let variable = name.strip_suffix("_FILE").unwrap_or(name);
    env.iter()
        .any(|known| known.name == name || known.name == variable)
}

/// Whether the template has the container run somebody else's worker.
pub(super) fn runs_foreign(pool: &WorkerPool, image: &str) -> bool {
    let spec = pool
        .spec
        .template
        .as_ref()
        .and_then(|template| template.spec.as_ref());
    let containers = spec.map_or(&[][..], |spec| &spec.containers);
    let handler = pool.spec.worker.handler.as_ref();
    find_worker(containers)
        .is_some_and(|worker| Program::of(&containers[worker], handler, image) == Program::Foreign)
}

/// The place of the container that takes the jobs.
pub(super) fn find_worker(containers: &[Container]) -> Option<usize> {
    containers
        .iter()
        .position(|container| container.name == CONTAINER)
}

/// Its place in the list, where it is added if the template has none.
fn worker_container(containers: &mut Vec<Container>) -> usize {
    find_worker(containers).unwrap_or_else(|| {
        containers.push(Container {
            name: CONTAINER.to_owned(),
            ..Container::default()
        });
        containers.len() - 1
    })
}

/// What the container runs, and what goes with that. Of a program that is not ours nothing is known, and nothing is changed.
fn fill_program(pod: &mut PodSpec, position: usize, program: Program, pool: &WorkerPool, inputs: Inputs<'_>) {
    let Inputs { image, resources, .. } = inputs;
    let path = match program {
        Program::Foreign => return,
        Program::Stock => {
            resources.fill_worker(pod, position, &pool.spec.worker, image);
            let container = &mut pod.containers[position];
            container.image.get_or_insert_with(|| image.to_owned());
            container
                .security_context
                .get_or_insert_with(restricted::container);
            pod.security_context.get_or_insert_with(restricted::pod);
            program::STOCK.to_owned()
        }
        Program::Copied => program::copy_into(pod, position, image, resources),
    };
    let container = &mut pod.containers[position];
    container.command.get_or_insert_with(|| vec![path]);
    listener::add_probes(pod, position, &pool.spec.worker);
    // Services named `redis` and `api` would otherwise inject REDIS_PORT=tcp://… and the like.
    pod.enable_service_links.get_or_insert(false);
    // Our worker needs no token. Who names a ServiceAccount has a program that does.
    if !names_service_account(pod) {
        pod.automount_service_account_token.get_or_insert(false);
    }
}

fn names_service_account(pod: &PodSpec) -> bool {
    // The second is the field's old name.
    [&pod.service_account_name, &pod.service_account]
        .into_iter()
        .flatten()
        .any(|name| !name.is_empty())
}
