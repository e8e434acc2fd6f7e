//! The CustomResourceDefinition, as `kubectl apply` takes it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::{Job, WorkerPool};

/// The definition of the WorkerPool.
#[must_use]
pub fn workerpool() -> CustomResourceDefinition {
    tidied(WorkerPool::crd())
}

/// The definition of the Job.
#[must_use]
pub fn job() -> CustomResourceDefinition {
    tidied(Job::crd())
}

/// The definition differs from what the types say by themselves in three points. No field is nullable: a null is then the same
/// as an absent field, as in the built-in kinds, and no rule has to think of it. Descriptions are not broken where the source is:
/// `kubectl explain` breaks them itself. And no field of a list's item has a default, as [`remove_defaults`] explains.
fn tidied(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        if let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        {
            tidy(schema);
        }
    }
    definition
}

fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.description = schema.description.as_deref().map(join_lines);
    schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
        .for_each(tidy);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        tidy(items);
        remove_defaults(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}

/// Removes the defaults of a list's items. A client-side apply of a custom resource replaces each list as a whole: a default that
/// the API server wrote into an item is missing from the user's file, so every apply would change the object, and a GitOps tool
/// would show drift forever. Readers apply these defaults instead: serde in the types, `has()` in the rules.
fn remove_defaults(schema: &mut JSONSchemaProps) {
    schema.default = None;
    schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
        .for_each(remove_defaults);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        remove_defaults(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        remove_defaults(values);
    }
}

/// Each paragraph becomes one line.
fn join_lines(text: &str) -> String {
    text.split("\n\n")
        .map(|paragraph| paragraph.replace('\n', " "))
        .collect::<Vec<_>>()
        .join("\n\n")
}
