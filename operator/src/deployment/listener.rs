//! The port on which our worker serves its probes and metrics.

use crds::{WorkerPool, worker::WorkerSpec};
use k8s_openapi::{
    api::core::v1::{Container, ContainerPort, EnvVar, HTTPGetAction, PodSpec, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    program::Program,
    template::{CONTAINER, find_worker},
};
use crate::refusal::Refusal;

/// The worker's own default.
const DEFAULT_PORT: i32 = 8080;
/// The worker's setting, as a variable and as a flag.
pub(super) const ADDRESS: &str = "WORKERPOOL_TELEMETRY_ADDRESS";
const FLAG: &str = "--telemetry-address";
/// The name of the port, where no port of the pod has it.
const PORT_NAME: &str = "http";

/// What the template's container itself says of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Nothing,
    Port(i32),
    /// An address that is known only in the pod, as from a ConfigMap.
    Unknown,
}

impl Written {
    fn of(container: &Container) -> Self {
        let words = [&container.command, &container.args]
            .into_iter()
            .flatten()
            .flatten();
        if let Some(flag) = after_flag(words) {
            return Self::parse(flag);
        }
        let env = container.env.as_deref().unwrap_or_default();
        match env.iter().find(|variable| variable.name == ADDRESS) {
            None => Self::Nothing,
            Some(EnvVar {
                value: Some(value), ..
            }) => Self::parse(value),
            Some(_) => Self::Unknown,
        }
    }

    /// Of `[::]:9090`, and of `$(POD_IP):9090` too.
    fn parse(address: &str) -> Self {
        let port = address
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse::<u16>().ok());
        port.filter(|port| *port != 0)
            .map_or(Self::Unknown, |port| Self::Port(port.into()))
    }
}

/// The value of the flag: the rest of its word, or the next word.
fn after_flag<'a>(mut words: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let rest = words.find_map(|word| word.strip_prefix(FLAG))?;
    rest.strip_prefix('=')
        .or_else(|| words.next().map(String::as_str))
}

/// The port on which the worker in this container listens.
pub(super) fn port(worker: &WorkerSpec, container: &Container) -> i32 {
    match Written::of(container) {
        Written::Port(port) => port,
        Written::Nothing | Written::Unknown => worker.telemetry_port.unwrap_or(DEFAULT_PORT),
    }
}

/// Whether the worker that the pool's template describes can listen: the containers of a pod share their ports.
///
/// # Errors
/// [`Refusal::Settings`] if the template says two ports, or another container has the port.
pub fn check_listener(pool: &WorkerPool, image: &str) -> Result<(), Refusal> {
    let template = pool.spec.template.as_ref();
    let Some(pod) = template.and_then(|template| template.spec.as_ref()) else {
        return Ok(());
    };
    let settings = &pool.spec.worker;
    let stock = Container::default();
    let worker = find_worker(&pod.containers).map_or(&stock, |index| &pod.containers[index]);
    if Program::of(worker, settings.handler.as_ref(), image) == Program::Foreign {
        return Ok(());
    }
    match (Written::of(worker), settings.telemetry_port) {
        (Written::Port(port), Some(other)) if port != other => Err(Refusal::Settings(format!(
            "the template's container {CONTAINER} sets {ADDRESS} to port {port}, and spec.worker.telemetryPort is {other}: take \
             one of the two away"
        ))),
        (Written::Unknown, None) => Ok(()),
        _ => {
            let port = port(settings, worker);
            others(pod)
                .find(|container| has_port(container, port))
                .map_or(Ok(()), |container| {
                    Err(Refusal::Settings(format!(
                        "the template's container {} has port {port}, on which the worker serves its probes: the containers of a \
                         pod share their ports; set spec.worker.telemetryPort to another one",
                        container.name
                    )))
                })
        }
    }
}

/// The containers that run beside the worker.
fn others(pod: &PodSpec) -> impl Iterator<Item = &Container> {
    let sidecars = pod.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let containers = pod
        .containers
        .iter()
        .filter(|container| container.name != CONTAINER);
    containers.chain(sidecars)
}

fn has_port(container: &Container, number: i32) -> bool {
    let mut ports = container.ports.iter().flatten();
    ports.any(|port| {
        port.container_port == number && port.protocol.as_deref().is_none_or(|name| name == "TCP")
    })
}

/// Adds the port and the probes that the container of our worker lacks. Probes and ports that the user wrote stay.
pub(super) fn add_probes(pod: &mut PodSpec, container: usize, worker: &WorkerSpec) {
    let port = port(worker, &pod.containers[container]);
    // Of two ports of one name, a Service takes the first of the pod.
    let containers = pod.containers.iter().chain(pod.init_containers.iter().flatten());
    let name_is_taken = containers
        .flat_map(|container| container.ports.iter().flatten())
        .any(|port| port.name.as_deref() == Some(PORT_NAME));
    let container = &mut pod.containers[container];
    if !has_port(container, port) {
        container.ports.get_or_insert_default().push(ContainerPort {
            name: (!name_is_taken).then(|| PORT_NAME.to_owned()),
            container_port: port,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        });
    }
    container.readiness_probe.get_or_insert_with(|| Probe {
        period_seconds: Some(2),
        ..probe("/readyz", port)
    });
    container.liveness_probe.get_or_insert_with(|| Probe {
        period_seconds: Some(10),
        timeout_seconds: Some(5),
        ..probe("/healthz", port)
    });
}

fn probe(path: &str, port: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(port),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}
