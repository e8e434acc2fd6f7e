//! The checked-in YAML of the CustomResourceDefinitions is what the types say.
//!
//! After a change of the types: `UPDATE=1 cargo test -p workerpool-crds --test yaml`.

// Fixtures are not tests to clippy, and they too may say what they expect.
#![allow(clippy::expect_used)]

use std::path::{Path, PathBuf};

use crds::{JobSpec, WorkerPoolSpec};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

const HEADER: &str = "# Generated from the types in crds/src; `UPDATE=1 cargo test -p workerpool-crds --test yaml` makes it anew.\n";

/// kubectl keeps what a client-side apply sent in an annotation, and all annotations of an object together have at most
/// 256 KiB. Half of that leaves room to grow.
const LARGEST: usize = 128 * 1024;

/// Every definition, as it is made.
fn definitions() -> [CustomResourceDefinition; 2] {
    [crds::definition::workerpool(), crds::definition::job()]
}

/// The file is called as the definition is. It lies where it is applied from, and in the chart, which must be whole by itself:
/// a link out of it is lost where files are copied, packed or checked out without links.
fn paths(definition: &CustomResourceDefinition) -> [PathBuf; 2] {
    let name = definition
        .metadata
        .name
        .as_deref()
        .expect("a definition has a name");
    ["crds/yaml", "charts/workerpool-crds/yaml"].map(|folder| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(folder)
            .join(format!("{name}.yaml"))
    })
}

#[test]
fn each_checked_in_definition_is_the_one_that_the_types_make() {
    for definition in definitions() {
        let yaml = serde_saphyr::to_string(&definition).expect("a definition is YAML");
        let made = format!("{HEADER}{yaml}");
        for path in paths(&definition) {
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, &made).expect("the folder can be written");
            }
            let checked_in = std::fs::read_to_string(&path).expect("the definition is checked in");
            assert!(
                checked_in == made,
                "the types have changed: UPDATE=1 cargo test -p workerpool-crds --test yaml, and commit {}",
                path.display()
            );
        }
    }
}

#[test]
fn each_definition_reads_back_from_its_yaml_unchanged() {
    for definition in definitions() {
        let yaml = serde_saphyr::to_string(&definition).expect("a definition is YAML");
        let read: Value = serde_saphyr::from_str(&yaml).expect("the YAML parses");
        assert_eq!(read, serde_json::to_value(definition).expect("JSON"));
    }
}

#[test]
fn each_definition_fits_a_client_side_apply() {
    for definition in definitions() {
        let applied = serde_json::to_string(&definition).expect("JSON");
        assert!(applied.len() < LARGEST, "{} bytes", applied.len());
    }
}

#[test]
fn a_job_needs_no_more_than_its_pool() {
    let spec: JobSpec = serde_json::from_str(r#"{"poolName": "thumbs"}"#).expect("a spec");
    assert_eq!(
        (spec.start.as_str(), spec.end.as_str(), spec.payload),
        ("", "", None)
    );
}

#[test]
fn the_types_default_what_the_api_server_defaults() {
    let spec: WorkerPoolSpec = serde_json::from_str("{}").expect("an empty spec is a spec");
    assert_eq!(spec, WorkerPoolSpec::default());
    let partly: WorkerPoolSpec =
        serde_json::from_str(r#"{"scaling": {"behavior": {"scaleDown": {}}}, "redis": {}}"#)
            .expect("every part may be partly given");
    assert_eq!(partly, WorkerPoolSpec::default());
}

#[test]
fn no_description_is_broken_where_the_source_is() {
    let definition = serde_json::to_string(&crds::definition::workerpool()).expect("JSON");
    let replicas = "whatever the queue says; `kubectl scale` sets it. Absent: follow the queue. It skips bounds, windows and policies";
    assert!(definition.contains(replicas));
}

/// An apply replaces each list (client-side) and each reference (server-side) as a whole, so a default that the API server wrote into
/// one would be a change each time.
#[test]
fn list_items_and_references_have_no_defaults() {
    for definition in definitions() {
        let definition = serde_json::to_value(definition).expect("JSON");
        let mut found = Vec::new();
        item_defaults(&definition, "", false, &mut found);
        assert!(found.is_empty(), "{found:?}");
    }
}

/// Collects the paths of defaults of fields of list items and of atomic references.
fn item_defaults(schema: &Value, path: &str, in_whole: bool, found: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            // Below `properties` it is the name of a field.
            let has_default = fields.contains_key("default") && !path.ends_with("/properties");
            if in_whole && has_default {
                found.push(path.to_owned());
            }
            let is_atomic = fields
                .get("x-kubernetes-map-type")
                .is_some_and(|kind| kind == "atomic");
            for (name, value) in fields {
                item_defaults(
                    value,
                    &format!("{path}/{name}"),
                    in_whole || is_atomic || name == "items",
                    found,
                );
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                item_defaults(value, &format!("{path}/{index}"), in_whole, found);
            }
        }
        _ => {}
    }
}

#[test]
fn items_without_their_defaults_mean_same_as_items_with_them() {
    let spec = |json: &str| serde_json::from_str::<WorkerPoolSpec>(json).expect("a spec");
    let without = spec(
        r#"{"queues": [{"name": "a", "source": {"waiting": [{"key": "k"}]}}],
            "scaling": {"schedules": [{"name": "s", "start": "0 8 * * *", "end": "0 9 * * *"}]}}"#,
    );
    let with = spec(
        r#"{"queues": [{"name": "a", "weight": 1, "source": {"db": 0, "waiting": [{"type": "List", "key": "k"}]}}],
            "scaling": {"schedules": [{"name": "s", "start": "0 8 * * *", "end": "0 9 * * *", "timeZone": "UTC"}]}}"#,
    );
    assert_eq!(without, with);
}

/// `kubectl explain` shows the description and the bare list of values: the description says what each value means.
#[test]
fn every_enum_explains_its_values() {
    let mut enums = 0;
    for definition in definitions() {
        let schema = schema_of(&definition);
        each_field(&schema, "", &mut |path, field| {
            let Some(values) = field["enum"].as_array() else {
                return;
            };
            enums += 1;
            let description = field["description"].as_str().unwrap_or_default();
            for value in values.iter().filter_map(Value::as_str) {
                // A list's item has no default in the schema; its description names it all the same.
                let is_default = description.contains(&format!("`{value}` (default): "));
                assert!(
                    is_default
                        || (field["default"] != value && description.contains(&format!("`{value}`: "))),
                    "{path} does not explain {value}: {description}"
                );
            }
        });
    }
    assert!(enums >= 13, "{enums}");
}

/// Nothing but labels and annotations is used of a template's metadata; see `kubectl explain deployment.spec.template.metadata`.
#[test]
fn template_metadata_is_labels_and_annotations() {
    let mut found = 0;
    each_field(
        &schema_of(&crds::definition::workerpool()),
        "",
        &mut |path, field| {
            if path.ends_with(".metadata") && path.contains(".template.") {
                found += 1;
                let fields = field["properties"].as_object().expect("fields");
                let fields: Vec<_> = fields.keys().map(String::as_str).collect();
                assert_eq!(
                    fields,
                    ["annotations", "creationTimestamp", "labels", "name"],
                    "{path}"
                );
            }
        },
    );
    assert_eq!(found, 2, "of the pods, and of a volume's claim");
}

fn schema_of(definition: &CustomResourceDefinition) -> Value {
    let definition = serde_json::to_value(definition).expect("JSON");
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Visits each field of a schema, those of list items and of maps too.
fn each_field(schema: &Value, path: &str, visit: &mut dyn FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        each_field(field, &format!("{path}.{name}"), visit);
    }
    for below in ["items", "additionalProperties"] {
        if schema[below].is_object() {
            each_field(&schema[below], &format!("{path}[]"), visit);
        }
    }
}
