//! Requests and limits of the containers of our image, where the pool's template sets none.
//!
//! A ResourceQuota refuses pods whose containers lack what it counts, and a LimitRange those that exceed its bounds.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crds::worker::WorkerSpec;
use k8s_openapi::{
    api::core::v1::{Container, EnvVar, PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Jobs at once that the default limit of memory has room for: each may have a result of 1 MiB, and as much again while it is sent.
const LIMITED_CONCURRENCY: i32 = 50;

/// Requests and limits of the stock worker and of the container that copies our worker.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerResources {
    requests: Amounts,
    limits: Amounts,
}

type Amounts = BTreeMap<String, Quantity>;

/// A setting that is no requests and limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResources {
    /// The JSON, or a field of it.
    #[error(
        "{0}; it is a JSON object with requests and limits, as in {{\"requests\": {{\"cpu\": \"10m\"}}, \"limits\": {{\"memory\": \
         \"128Mi\"}}}}"
    )]
    Syntax(String),
    /// A resource that Kubernetes does not have.
    #[error(
        "{0} is no resource of a container: use cpu, memory, ephemeral-storage, hugepages-SIZE or DOMAIN/NAME"
    )]
    Name(String),
    /// An amount that Kubernetes does not understand.
    #[error("{amount} is no amount of {resource}: write it as 10m, 1, 64Mi or 1Gi")]
    Amount {
        /// The resource.
        resource: String,
        /// What is said of it.
        amount: String,
    },
    /// The API server refuses every pod with it.
    #[error(
        "the request of {resource} ({request}) is above its limit ({limit}): raise the limit or lower the request"
    )]
    RequestAboveLimit {
        /// The resource.
        resource: String,
        /// The request.
        request: String,
        /// The limit.
        limit: String,
    },
}

/// The worker takes 5 MB at rest (docs/benchmarks.md), and beside that the payload (64 KiB at most) and the result (1 MiB at most) of
/// each job that it holds.
impl Default for WorkerResources {
    fn default() -> Self {
        Self {
            requests: amounts("10m", "16Mi"),
            limits: amounts("500m", "128Mi"),
        }
    }
}

fn amounts(cpu: &str, memory: &str) -> Amounts {
    Amounts::from([
        ("cpu".to_owned(), Quantity(cpu.to_owned())),
        ("memory".to_owned(), Quantity(memory.to_owned())),
    ])
}

impl WorkerResources {
    /// Sets requests and limits of the container `worker`, which runs our worker, unless the template sets any. An image that the
    /// template names is the user's. Programs of the user in our container, and many jobs at once, get requests alone: a default limit
    /// would end them for memory that only their author can estimate.
    pub(super) fn fill_worker(&self, pod: &mut PodSpec, container: usize, worker: &WorkerSpec, image: &str) {
        let has_pod_resources = pod.resources.is_some();
        let container = &mut pod.containers[container];
        let is_ours = container.image.as_deref().is_none_or(|named| named == image);
        if has_pod_resources || container.resources.is_some() || !is_ours {
            return;
        }
        let has_many_jobs = worker.concurrency > LIMITED_CONCURRENCY;
        container.resources = if has_many_jobs || may_run_programs(worker, container) {
            requirements(&self.requests, &Amounts::new())
        } else {
            requirements(&self.requests, &self.limits)
        };
    }

    /// Those of the container that copies our worker. The sum over a pod's containers must not exceed what the template gives the
    /// pod as a whole.
    pub(super) fn of_copier(&self, pod: &PodSpec) -> Option<ResourceRequirements> {
        if pod.resources.is_some() {
            return None;
        }
        requirements(&self.requests, &self.limits)
    }
}

/// Whether the container may run programs of the user beside our worker: the pool, its arguments or its environment may name one.
fn may_run_programs(worker: &WorkerSpec, container: &Container) -> bool {
    let handler = worker.handler.as_ref();
    let env = container.env.as_deref().unwrap_or_default();
    let names_program =
        |variable: &EnvVar| ["WORKERPOOL_HANDLER", "WORKERPOOL_COMMAND"].contains(&&*variable.name);
    handler.is_some_and(|handler| handler.command.is_some())
        || container.args.is_some()
        || container
            .command
            .as_ref()
            .is_some_and(|command| command.len() > 1)
        || container.env_from.is_some()
        || env.iter().any(names_program)
}

fn requirements(requests: &Amounts, limits: &Amounts) -> Option<ResourceRequirements> {
    let some = |amounts: &Amounts| (!amounts.is_empty()).then(|| amounts.clone());
    let resources = ResourceRequirements {
        requests: some(requests),
        limits: some(limits),
        ..ResourceRequirements::default()
    };
    (resources != ResourceRequirements::default()).then_some(resources)
}

/// As in a container, without `claims`, which name what each pod would have to define.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    requests: BTreeMap<String, Value>,
    #[serde(default)]
    limits: BTreeMap<String, Value>,
}

impl FromStr for WorkerResources {
    type Err = InvalidResources;

    fn from_str(json: &str) -> Result<Self, Self::Err> {
        // An array would do for a struct.
        let object: serde_json::Result<Map<String, Value>> = serde_json::from_str(json);
        let written: Written = object
            .and_then(|object| serde_json::from_value(Value::Object(object)))
            .map_err(|error| InvalidResources::Syntax(error.to_string()))?;
        let requests = checked(written.requests)?;
        let limits = checked(written.limits)?;
        for (resource, Quantity(request)) in &requests {
            let Some(Quantity(limit)) = limits.get(resource) else {
                continue;
            };
            if size(request) > size(limit) {
                return Err(InvalidResources::RequestAboveLimit {
                    resource: resource.clone(),
                    request: request.clone(),
                    limit: limit.clone(),
                });
            }
        }
        Ok(Self { requests, limits })
    }
}

impl fmt::Display for WorkerResources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resources = requirements(&self.requests, &self.limits).unwrap_or_default();
        let json = serde_json::to_string(&resources).map_err(|_| fmt::Error)?;
        f.write_str(&json)
    }
}

fn checked(written: BTreeMap<String, Value>) -> Result<Amounts, InvalidResources> {
    let amounts = written.into_iter().map(|(resource, amount)| {
        if !is_resource(&resource) {
            return Err(InvalidResources::Name(resource));
        }
        // YAML has numbers where Kubernetes has quantities.
        let amount = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
        match size(&amount) {
            Some(_) => Ok((resource, Quantity(amount))),
            None => Err(InvalidResources::Amount { resource, amount }),
        }
    });
    amounts.collect()
}

fn is_resource(name: &str) -> bool {
    ["cpu", "memory", "ephemeral-storage"].contains(&name)
        || name.starts_with("hugepages-")
        || name.contains('/')
}

/// A quantity as a number, to compare it with others. <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
fn size(quantity: &str) -> Option<f64> {
    let end = quantity.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, suffix) = quantity.split_at(end.unwrap_or(quantity.len()));
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 2_f64.powi(10),
        "Mi" => 2_f64.powi(20),
        "Gi" => 2_f64.powi(30),
        "Ti" => 2_f64.powi(40),
        "Pi" => 2_f64.powi(50),
        "Ei" => 2_f64.powi(60),
        exponent => 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_is_written_as_it_is_read() {
        for json in [
            "{}",
            r#"{"limits":{"memory":"1Gi"}}"#,
            r#"{"limits":{"cpu":"1"},"requests":{"cpu":"1000m","example.com/fpga":"1"}}"#,
        ] {
            let resources: WorkerResources = json.parse().unwrap();
            assert_eq!(resources.to_string(), json);
        }
        let numbers: WorkerResources = r#"{"requests": {"cpu": 1, "memory": 1e6}}"#.parse().unwrap();
        assert_eq!(numbers.requests["cpu"], Quantity("1".to_owned()));
        let defaults = WorkerResources::default();
        assert_eq!(defaults.to_string().parse(), Ok(defaults));
    }

    #[test]
    fn setting_that_api_server_would_refuse_is_refused() {
        for (json, says) in [
            ("", "EOF while parsing"),
            ("[]", "it is a JSON object with requests and limits"),
            (r#"{"request": {}}"#, "unknown field `request`"),
            (r#"{"limits": {"cpus": 1}}"#, "cpus is no resource of a container"),
            (
                r#"{"limits": {"memory": "64 MB"}}"#,
                "64 MB is no amount of memory",
            ),
            (r#"{"limits": {"memory": "-1"}}"#, "-1 is no amount of memory"),
            (r#"{"limits": {"memory": {}}}"#, "{} is no amount of memory"),
            (
                r#"{"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}}"#,
                "the request of memory (1Gi) is above its limit (1G)",
            ),
        ] {
            let error = json.parse::<WorkerResources>().unwrap_err().to_string();
            assert!(error.contains(says), "{json}: {error}");
        }
    }

    #[test]
    fn quantities_are_compared_over_their_suffixes() {
        for (less, more) in [
            ("999m", "1"),
            ("1M", "1Mi"),
            ("1023Ki", "1Mi"),
            ("1e3", "1.1k"),
            ("1P", "1E"),
        ] {
            assert!(size(less) < size(more), "{less} {more}");
        }
    }
}
