//! The labels of the Deployment and of its pods, and those by which it selects them.

use super::*;
use crate::scale_down::{LEAVING, STAYING};

const NAME: &str = "app.kubernetes.io/name";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const PART_OF: &str = "app.kubernetes.io/part-of";
/// Of the Deployment of an empty spec.
const HASH_OF_0_1_0: &str = "194687e5fc272d19";

/// What release 0.1.0 selected by.
fn old_selector() -> LabelSelector {
    serde_json::from_value(json!({"matchLabels": {NAME: "workerpool-worker", POOL: "hw7"}})).unwrap()
}

fn labelled(labels: &serde_json::Value) -> WorkerPool {
    pool(json!({"template": {"metadata": {"labels": labels}}}))
}

fn built_with(pool: &WorkerPool, selector: Option<&LabelSelector>) -> serde_json::Value {
    built_beside(pool, &crate::source::place(pool).unwrap(), &["queue"], selector)
}

fn pod_labels(deployment: &serde_json::Value) -> &serde_json::Value {
    &deployment["spec"]["template"]["metadata"]["labels"]
}

#[test]
fn new_deployment_selects_by_pool_alone_and_keeps_labels_of_template() {
    let pool = labelled(&json!({NAME: "thumbs", MANAGED_BY: "Helm", "team": "a"}));
    let deployment = built_with(&pool, None);
    assert_eq!(
        deployment["spec"]["selector"],
        json!({"matchLabels": {POOL: "hw7"}})
    );
    assert_eq!(
        *pod_labels(&deployment),
        json!({NAME: "thumbs", MANAGED_BY: "Helm", "team": "a", POOL: "hw7", LEAVING: STAYING})
    );
    assert_eq!(labels_not_taken(&pool, None), None);
    // The Deployment itself is the operator's.
    assert_eq!(
        deployment["metadata"]["labels"][MANAGED_BY],
        "workerpool-operator"
    );
}

#[test]
fn existing_deployment_keeps_its_selector_and_pods_their_labels_in_it() {
    let pool = labelled(&json!({NAME: "thumbs", MANAGED_BY: "Helm"}));
    let selector = old_selector();
    let deployment = built_with(&pool, Some(&selector));
    assert_eq!(
        deployment["spec"]["selector"],
        serde_json::to_value(&selector).unwrap()
    );
    assert_eq!(
        *pod_labels(&deployment),
        json!({NAME: "workerpool-worker", MANAGED_BY: "Helm", POOL: "hw7", LEAVING: STAYING})
    );

    let mut found = Workload::default();
    found.spec.selector = selector;
    let sentence = labels_not_taken(&pool, Some(&found)).unwrap();
    assert!(
        sentence.starts_with(
            "the template's label app.kubernetes.io/name cannot be taken: the selector of the Deployment hw7"
        ),
        "{sentence}"
    );
    assert_eq!(
        labels_not_taken(&labelled(&json!({"team": "a"})), Some(&found)),
        None
    );
}

/// What differs from 0.1.0 are the default requests and limits, which come with the image of the new release.
#[test]
fn deployment_of_0_1_0_is_not_rolled_out_again() {
    let pool = pool(json!({}));
    let server = crate::source::place(&pool).unwrap();
    let none = "{}".parse().unwrap();
    let built = built_with_resources(&pool, &server, &["queue"], Some(&old_selector()), &none);
    let labels = json!({NAME: "workerpool-worker", MANAGED_BY: "workerpool-operator", POOL: "hw7"});
    assert_eq!(built["metadata"]["labels"], labels);
    // As 0.1.0 computed it over everything in the Deployment.
    assert_eq!(built["metadata"]["annotations"][APPLIED], HASH_OF_0_1_0);
}

#[test]
fn labels_that_workerpool_needs_are_not_taken_from_template() {
    let pool = labelled(&json!({POOL: "other", LEAVING: "1", PART_OF: "workerpool", "team": "a"}));
    let deployment = built_with(&pool, None);
    assert_eq!(pod_labels(&deployment)[POOL], "hw7");
    assert_eq!(pod_labels(&deployment)[LEAVING], STAYING);
    // The API server refuses it in new pools; an older one may have it.
    assert_eq!(pod_labels(&deployment)[PART_OF], json!(null));
    let sentence = labels_not_taken(&pool, None).unwrap();
    let labels = format!("labels {PART_OF}, {LEAVING}, {POOL}, which workerpool itself uses,");
    assert!(sentence.contains(&labels), "{sentence}");

    let part_of_shop = labelled(&json!({PART_OF: "shop", POOL: "hw7"}));
    assert_eq!(pod_labels(&built_with(&part_of_shop, None))[PART_OF], "shop");
    assert_eq!(labels_not_taken(&part_of_shop, None), None);
}

#[test]
fn deployment_is_built_again_when_selector_is_another() {
    let pool = labelled(&json!({NAME: "thumbs"}));
    let server = Server::new("redis:6379".parse().unwrap());
    let build = |selector| {
        let inputs = Inputs {
            image: "workerpool:1",
            resources: &WorkerResources::default(),
            server: &server,
            queues: &[],
            selector,
        };
        build_deployment(&pool, inputs)
    };
    let mut found = Workload::default();
    found.spec.selector = old_selector();
    let (kept, new) = (build(Some(&found.spec.selector)), build(None));
    assert!(selects_as(&kept, &pool, Some(&found)) && selects_as(&new, &pool, None));
    // It was deleted, so that the labels could be taken.
    assert!(!selects_as(&kept, &pool, None) && !selects_as(&new, &pool, Some(&found)));
}

fn with_labels(labels: &serde_json::Value) -> WorkerPool {
    let mut pool = pool(json!({}));
    pool.metadata.labels = serde_json::from_value(labels.clone()).unwrap();
    pool
}

#[test]
fn deployment_gets_labels_of_pool_and_pods_do_not() {
    let plain = built_with(&with_labels(&json!({})), None);
    let deployment = built_with(
        &with_labels(&json!({"team": "a", NAME: "mine", POOL: "other"})),
        None,
    );
    assert_eq!(
        deployment["metadata"]["labels"],
        json!({"team": "a", NAME: "workerpool-worker", MANAGED_BY: "workerpool-operator", POOL: "hw7"})
    );
    assert_eq!(
        deployment["spec"], plain["spec"],
        "no label of the pool rolls its pods"
    );
    let applied = |deployment: &serde_json::Value| deployment["metadata"]["annotations"][APPLIED].clone();
    assert_ne!(applied(&deployment), applied(&plain), "the label is applied");
}

#[test]
fn deployment_does_not_get_labels_by_which_tools_know_their_objects() {
    let deployment = built_with(
        &with_labels(&json!({
            "app.kubernetes.io/instance": "shop", MANAGED_BY: "Helm", "helm.sh/chart": "shop-1", "argocd.argoproj.io/instance": "shop",
            "kubectl.kubernetes.io/default": "1", "app.kubernetes.io/version": "2",
        })),
        None,
    );
    assert_eq!(
        deployment["metadata"]["labels"],
        json!({
            "app.kubernetes.io/version": "2", NAME: "workerpool-worker", MANAGED_BY: "workerpool-operator", POOL: "hw7",
        })
    );
}
