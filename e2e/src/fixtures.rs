//! Fixtures of released versions: stored objects and an append-only file. `e2e/fixtures/README.md` says how they are made.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::project;

/// Placeholder in the files for the namespace.
const NAMESPACE: &str = "NAMESPACE";
/// Field manager of a pool's own Deployment.
const DEPLOYMENT_MANAGER: &str = "workerpool-operator/deployment";
/// Field manager of counts that are written through `/scale`.
const SCALE_MANAGER: &str = "workerpool-operator/scale";

/// Fixtures of one version, read for one namespace.
#[derive(Debug)]
pub struct Fixtures {
    folder: PathBuf,
    namespace: String,
    uids: BTreeMap<String, String>,
}

/// A job of the append-only file, and what is to become of it.
#[derive(Clone, Debug)]
pub struct JobFate {
    /// Its id.
    pub id: String,
    /// Its state when the fixtures were made, in words.
    pub was: String,
    /// The status in which it ends.
    pub ends: String,
    /// Its status when the fixtures were made.
    pub status: String,
    /// Its result, if it ends as complete.
    pub result: Option<String>,
}

/// A Deployment as it was stored.
#[derive(Clone, Debug)]
pub struct StoredDeployment(Value);

impl Fixtures {
    /// The fixtures of this version, for a namespace of the test's own.
    #[must_use]
    pub fn of(version: &str, namespace: &str) -> Self {
        Self {
            folder: project().join("e2e/fixtures").join(version),
            namespace: namespace.to_owned(),
            uids: BTreeMap::new(),
        }
    }

    /// Path of one of the files.
    #[must_use]
    pub fn path(&self, file: &str) -> String {
        self.folder.join(file).to_string_lossy().into_owned()
    }

    /// An object that was created again has another UID: what is read from now on has this one.
    ///
    /// # Errors
    /// When one of the two has none.
    pub fn renew_uid(&mut self, stored: &Value, created: &Value) -> Result<()> {
        let uid = |object: &Value| Some(object["metadata"]["uid"].as_str()?.to_owned());
        let (old, new) = uid(stored).zip(uid(created)).context("an object without a UID")?;
        self.uids.insert(old, new);
        Ok(())
    }

    /// The objects of a file, with the namespace and the UIDs of now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn objects(&self, file: &str) -> Result<Vec<Value>> {
        let list = self.json(file)?;
        Ok(list["items"].as_array().context("not a list of objects")?.clone())
    }

    /// The Deployments.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn deployments(&self) -> Result<Vec<StoredDeployment>> {
        let objects = self.objects("stored/deployments.json")?;
        Ok(objects.into_iter().map(StoredDeployment).collect())
    }

    /// A file that holds one JSON value.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn json(&self, file: &str) -> Result<Value> {
        let path = self.path(file);
        let mut text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        for (old, new) in &self.uids {
            text = text.replace(old, new);
        }
        let text = text.replace(NAMESPACE, &self.namespace);
        serde_json::from_str(&text).context(path)
    }

    /// The commands of the append-only file. A UID is as long as any other, so no length in it changes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn append_only_file(&self) -> Result<Vec<u8>> {
        let path = self.path("redis/appendonly.aof");
        let mut bytes = std::fs::read(&path).context(path)?;
        for (old, new) in &self.uids {
            replace(&mut bytes, old.as_bytes(), new.as_bytes());
        }
        Ok(bytes)
    }

    /// The jobs of the append-only file.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn ledger(&self) -> Result<Vec<JobFate>> {
        let ledger = self.json("ledger.json")?;
        let jobs = ledger.as_array().context("the ledger is no list")?;
        jobs.iter()
            .map(|job| {
                let text = |field: &str| {
                    let found = job[field].as_str().map(str::to_owned);
                    found.with_context(|| format!("a job without {field}: {job}"))
                };
                Ok(JobFate {
                    id: text("id")?,
                    was: text("was")?,
                    status: text("status")?,
                    ends: text("ends")?,
                    result: job["result"].as_str().map(str::to_owned),
                })
            })
            .collect()
    }
}

impl StoredDeployment {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Its `spec.replicas`.
    #[must_use]
    pub fn replicas(&self) -> i64 {
        self.0["spec"]["replicas"].as_i64().unwrap_or_default()
    }

    /// Its `spec.selector`.
    #[must_use]
    pub fn selector(&self) -> &Value {
        &self.0["spec"]["selector"]
    }

    /// Its `spec.template`.
    #[must_use]
    pub fn template(&self) -> &Value {
        &self.0["spec"]["template"]
    }

    /// Whether the operator wrote its count through `/scale`, and so owns it under that name.
    #[must_use]
    pub fn is_scaled(&self) -> bool {
        self.fields_of(SCALE_MANAGER).is_some()
    }

    /// The fields that the operator applied, without defaults and without fields of other managers; `None` for a Deployment of the user's.
    #[must_use]
    pub fn applied(&self) -> Option<Value> {
        let fields = self.fields_of(DEPLOYMENT_MANAGER)?;
        let mut applied = owned(&self.0, fields);
        for field in ["apiVersion", "kind"] {
            applied[field] = self.0[field].clone();
        }
        applied["metadata"]["name"] = self.0["metadata"]["name"].clone();
        Some(applied)
    }

    fn fields_of(&self, manager: &str) -> Option<&Value> {
        let managers = self.0["metadata"]["managedFields"].as_array()?;
        let entry = managers.iter().find(|entry| entry["manager"] == manager)?;
        Some(&entry["fieldsV1"])
    }
}

/// The part of a value that these `fieldsV1` name, lists in their order: <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>.
fn owned(value: &Value, fields: &Value) -> Value {
    let named = fields.as_object().map(|fields| {
        let named = fields.iter().filter(|(field, _)| field.as_str() != ".");
        named.collect::<Vec<_>>()
    });
    let Some(named) = named.filter(|named| !named.is_empty()) else {
        return value.clone();
    };
    if let Some(items) = value.as_array() {
        let kept = items.iter().filter_map(|item| {
            let (_, below) = named.iter().find(|(field, _)| is_item(item, field))?;
            Some(owned(item, below))
        });
        return kept.collect();
    }
    let mut kept = Map::new();
    for (field, below) in named {
        if let Some(name) = field.strip_prefix("f:")
            && let Some(found) = value.get(name)
        {
            kept.insert(name.to_owned(), owned(found, below));
        }
    }
    Value::Object(kept)
}

/// Whether an item of a list is the one that `k:{"name":"worker"}` or `v:"text"` names.
fn is_item(item: &Value, field: &str) -> bool {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    if let Some(value) = field.strip_prefix("v:").and_then(parsed) {
        return *item == value;
    }
    let keys = field.strip_prefix("k:").and_then(parsed);
    let keys = keys.as_ref().and_then(Value::as_object);
    keys.is_some_and(|keys| keys.iter().all(|(key, value)| item[key] == *value))
}

fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    if old.len() != new.len() || old.is_empty() {
        return;
    }
    let mut at = 0;
    while at + old.len() <= bytes.len() {
        let place = &mut bytes[at..at + old.len()];
        if place == old {
            place.copy_from_slice(new);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn applied_fields_leave_out_defaults_and_other_owners() {
        let deployment = StoredDeployment(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "hw7",
                "annotations": {"ours": "1", "theirs": "2"},
                "managedFields": [
                    {"manager": "kube-controller-manager", "fieldsV1": {"f:status": {}}},
                    {"manager": DEPLOYMENT_MANAGER, "fieldsV1": {
                        "f:metadata": {"f:annotations": {"f:ours": {}}},
                        "f:spec": {"f:selector": {}, "f:template": {"f:spec": {"f:containers": {
                            "k:{\"name\":\"first\"}": {".": {}, "f:name": {}},
                            "k:{\"name\":\"worker\"}": {".": {}, "f:name": {}, "f:command": {}},
                        }}}},
                    }},
                ],
            },
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"a": "b"}},
                "template": {"spec": {"dnsPolicy": "ClusterFirst", "containers": [
                    {"name": "other"},
                    {"name": "worker", "command": ["x"], "terminationMessagePath": "/dev/termination-log"},
                    {"name": "first"},
                ]}},
            },
        }));
        assert_eq!(
            deployment.applied().unwrap(),
            json!({
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "hw7", "annotations": {"ours": "1"}},
                "spec": {
                    "selector": {"matchLabels": {"a": "b"}},
                    "template": {"spec": {"containers": [
                        {"name": "worker", "command": ["x"]},
                        {"name": "first"},
                    ]}},
                },
            })
        );
        assert!(!deployment.is_scaled());
    }
}
