//! The CustomResourceDefinition, as `kubectl apply` takes it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use crate::{Job, WorkerPool};

/// The definition of the WorkerPool.
#[must_use]
pub fn workerpool() -> CustomResourceDefinition {
    definition::<WorkerPool>()
}

/// The definition of the Job.
#[must_use]
pub fn job() -> CustomResourceDefinition {
    definition::<Job>()
}

/// The definition differs from what the types say by themselves in four points. No field is nullable: a null is then the same
/// as an absent field, as in the built-in kinds, and no rule has to think of it. Descriptions are not broken where the source is:
/// `kubectl explain` breaks them itself. They explain the values of enums, as [`explain_values`] says. And no field of a list's
/// item or of an atomic reference has a default, as [`remove_defaults`] explains.
fn definition<K: CustomResourceExt + JsonSchema>() -> CustomResourceDefinition {
    let mut definition = K::crd();
    let documented = documented_schema::<K>();
    for version in &mut definition.spec.versions {
        if let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        {
            explain_values(schema, &documented);
            tidy(schema);
        }
    }
    definition
}

/// The schema before it becomes a structural one, which has no place for the documentation of an enum's variants.
fn documented_schema<K: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<K>().to_value()
}

/// Appends the meaning of each value to the descriptions of enums, from the documentation of the variants: `kubectl explain` shows
/// the values themselves as a bare list. The description is that of the field: of an optional field kube keeps only its type's.
/// A field with `x-extensible-enum` accepts other values too.
fn explain_values(schema: &mut JSONSchemaProps, documented: &Value) {
    let description = documented["description"].as_str().map(str::to_owned);
    let is_extensible = documented["x-extensible-enum"] == true;
    let documented = without_null(documented);
    if let Some(variants) = documented["oneOf"].as_array() {
        let default = schema.default.as_ref().map(|default| &default.0);
        let values: Vec<_> = variants
            .iter()
            .filter_map(|variant| explained(variant, default))
            .collect();
        let values = format!("{}.", values.join("; "));
        let parts = [description, Some(values)];
        schema.description = Some(parts.into_iter().flatten().collect::<Vec<_>>().join(" "));
        if is_extensible {
            schema.enum_ = None;
        }
    }
    for (name, field) in schema.properties.iter_mut().flatten() {
        explain_values(field, &documented["properties"][name]);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        explain_values(items, &documented["items"]);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        explain_values(values, &documented["additionalProperties"]);
    }
}

/// The schema of `T` in that of `Option<T>`.
fn without_null(schema: &Value) -> &Value {
    schema["anyOf"].get(0).unwrap_or(schema)
}

/// `Value`: meaning, or `Value` (default): meaning.
fn explained(variant: &Value, default: Option<&Value>) -> Option<String> {
    let value = variant["enum"].get(0)?;
    let mark = if default == Some(value) { " (default)" } else { "" };
    let meaning = uncapitalized(variant["description"].as_str()?.trim_end_matches('.'));
    Some(format!("`{}`{mark}: {meaning}", value.as_str()?))
}

/// With a small first letter, unless the first word is an acronym.
fn uncapitalized(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
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
    if schema.x_kubernetes_map_type.as_deref() == Some("atomic") {
        remove_defaults(schema);
    }
}

/// Removes the defaults of what an apply replaces as a whole: a list's items for a client-side apply of a custom resource, an atomic
/// reference for a server-side one. A default that the API server wrote there is missing from the user's file, so every apply
/// would change the object or conflict with another manager's apply of the same file, and a GitOps tool would show drift forever.
/// Readers apply these defaults instead: serde in the types, `has()` in the rules.
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
