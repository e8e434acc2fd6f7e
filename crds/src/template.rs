//! The schema of a pod template inside of a WorkerPool.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// Lists of a pod that merge by key, as in Kubernetes' own schema; the Rust types have lost these markers. Without them a
/// server-side apply would own a list as a whole. `ports` is not among them: one of its keys, `protocol`, is optional, and a key
/// needs a default then, which no list item may have (see `definition`).
const MAPS: [(&str, &[&str]); 11] = [
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("ephemeralContainers", &["name"]),
    ("env", &["name"]),
    ("volumes", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("hostAliases", &["ip"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("resourceClaims", &["name"]),
    ("schedulingGates", &["name"]),
];

/// Objects of a pod that one owner writes as a whole, as in Kubernetes' own schema: half of one reference and half of another
/// refer to nothing.
const ATOMIC: [&str; 7] = [
    "configMapKeyRef",
    "secretKeyRef",
    "fileKeyRef",
    "fieldRef",
    "resourceFieldRef",
    "labelSelector",
    "namespaceSelector",
];
/// The metadata of a template that is used: labels and annotations. The other two are accepted because files have them, a null
/// `creationTimestamp` from generators, and mean nothing, as in a Deployment.
const METADATA: [&str; 4] = ["labels", "annotations", "creationTimestamp", "name"];

/// The full schema, so that a typo is refused, but without descriptions: with them the whole CRD would not fit into the
/// annotation in which a client-side `kubectl apply` keeps what was applied.
pub(crate) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = generator.subschema_for::<PodTemplateSpec>().to_value();
    prune(&mut schema);
    mark_maps(&mut schema);
    reduce_metadata(&mut schema);
    containers_are_optional(&mut schema);
    refuse_part_of(&mut schema);
    if let Value::Object(object) = &mut schema {
        object.insert(
            "description".to_owned(),
            json!("A PodTemplateSpec; see `kubectl explain deployment.spec.template`."),
        );
    }
    schema
        .try_into()
        .unwrap_or_else(|_| json_schema!({"type": "object"}))
}

/// Takes the descriptions away; `properties` holds names of fields, of which one may be `description`.
fn prune(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.remove("description");
            object.remove("title");
            for (key, value) in object.iter_mut() {
                match value {
                    Value::Object(properties) if key == "properties" => {
                        properties.values_mut().for_each(prune);
                    }
                    other => prune(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

fn mark_maps(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    for (name, property) in properties_mut(object) {
        for (_, keys) in MAPS.iter().filter(|(list, _)| list == name) {
            mark_map(property, keys);
        }
        if ATOMIC.contains(&name.as_str()) {
            property["x-kubernetes-map-type"] = json!("atomic");
        }
        mark_maps(property);
    }
    if let Some(items) = object.get_mut("items") {
        mark_maps(items);
    }
}

fn mark_map(list: &mut Value, keys: &[&str]) {
    if list["type"] != json!("array") {
        return;
    }
    list["x-kubernetes-list-type"] = json!("map");
    list["x-kubernetes-list-map-keys"] = json!(keys);
}

/// Leaves out the metadata that no template has: of the pods, and of a volume's claim.
fn reduce_metadata(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    for (name, property) in properties_mut(object) {
        if name == "metadata"
            && let Some(Value::Object(fields)) = property.get_mut("properties")
        {
            fields.retain(|field, _| METADATA.contains(&field.as_str()));
        }
        reduce_metadata(property);
    }
    if let Some(items) = object.get_mut("items") {
        reduce_metadata(items);
    }
}

/// A template may say nothing of containers: the stock worker is added.
fn containers_are_optional(schema: &mut Value) {
    if let Some(Value::Array(required)) = schema.pointer_mut("/properties/spec/required") {
        required.retain(|name| name != "containers");
    }
}

/// The Services of workerpool's API and Redis select by this label, beside a name that the user's own pods may have.
fn refuse_part_of(schema: &mut Value) {
    if let Some(labels) = schema.pointer_mut("/properties/metadata/properties/labels") {
        labels["x-kubernetes-validations"] = json!([{
            "rule": "!('app.kubernetes.io/part-of' in self) || self['app.kubernetes.io/part-of'] != 'workerpool'",
            "message": "the label app.kubernetes.io/part-of: workerpool is for the parts of workerpool itself, whose Services select it: give it another value",
        }]);
    }
}

fn properties_mut(object: &mut Map<String, Value>) -> impl Iterator<Item = (&String, &mut Value)> {
    object
        .get_mut("properties")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten()
}
