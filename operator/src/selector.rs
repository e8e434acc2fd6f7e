//! Label selectors as text, as `kubectl get -l` takes them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// The text of a selector; empty for one that selects everything.
#[must_use]
pub fn to_string(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten();
    let mut terms: Vec<_> = labels.map(|(key, value)| format!("{key}={value}")).collect();
    for expression in selector.match_expressions.iter().flatten() {
        let key = &expression.key;
        let values = expression
            .values
            .iter()
            .flatten()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(",");
        terms.push(match expression.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        });
    }
    terms.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_term_is_written_as_kubectl_reads_it() {
        let selector: LabelSelector = serde_json::from_value(serde_json::json!({
            "matchLabels": {"a": "1", "b": "2"},
            "matchExpressions": [
                {"key": "c", "operator": "In", "values": ["3", "4"]},
                {"key": "d", "operator": "NotIn", "values": ["5"]},
                {"key": "e", "operator": "Exists"},
                {"key": "f", "operator": "DoesNotExist"},
            ],
        }))
        .unwrap();
        assert_eq!(to_string(&selector), "a=1,b=2,c in (3,4),d notin (5),e,!f");
        assert_eq!(to_string(&LabelSelector::default()), "");
    }
}
