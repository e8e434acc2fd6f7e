//! What HorizontalPodAutoscalers and KEDA's ScaledObjects scale: two masters of one count would fight.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, StreamExt};
use k8s_openapi::{
    NamespaceResourceScope, api::autoscaling::v2::HorizontalPodAutoscaler as FullAutoscaler,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, ResourceExt, runtime::watcher};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    decoding::Guarded,
    objects::prune,
    targets::{TargetKey, group_of},
};

/// A HorizontalPodAutoscaler.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = FullAutoscaler)]
pub struct Autoscaler {
    /// Its name.
    pub metadata: ObjectMeta,
    /// What it scales.
    pub spec: AutoscalerSpec,
}

/// KEDA's ScaledObject.
#[derive(Clone, Debug, Deserialize)]
pub struct ScaledObject {
    /// Its name.
    pub metadata: ObjectMeta,
    /// What it scales.
    pub spec: AutoscalerSpec,
}

/// What an autoscaler scales.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerSpec {
    /// The target.
    pub scale_target_ref: AutoscalerTarget,
}

/// The target of an autoscaler.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerTarget {
    /// Its API version; not said by whoever means a Deployment.
    #[serde(default)]
    pub api_version: Option<String>,
    /// Its kind; likewise.
    #[serde(default)]
    pub kind: Option<String>,
    /// Its name.
    pub name: String,
}

/// Of one kind: what it scales.
pub trait Scaler:
    Resource<DynamicType = ()> + Clone + fmt::Debug + DeserializeOwned + Send + 'static
{
    /// The kind, as it is told.
    const KIND: &'static str;

    /// The target; `None` if the autoscaler cannot be decoded.
    fn target(&self) -> Option<&AutoscalerTarget>;
}

impl Scaler for Autoscaler {
    const KIND: &'static str = "HorizontalPodAutoscaler";

    fn target(&self) -> Option<&AutoscalerTarget> {
        Some(&self.spec.scale_target_ref)
    }
}

impl Scaler for ScaledObject {
    const KIND: &'static str = "ScaledObject";

    fn target(&self) -> Option<&AutoscalerTarget> {
        Some(&self.spec.scale_target_ref)
    }
}

impl<K: Scaler> Scaler for Guarded<K> {
    const KIND: &'static str = K::KIND;

    fn target(&self) -> Option<&AutoscalerTarget> {
        self.0.as_ref().ok()?.target()
    }
}

/// Not by the derive, which takes its names from another type.
impl Resource for ScaledObject {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        Self::KIND.into()
    }

    fn group((): &()) -> std::borrow::Cow<'_, str> {
        "keda.sh".into()
    }

    fn version((): &()) -> std::borrow::Cow<'_, str> {
        "v1alpha1".into()
    }

    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        "scaledobjects".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Takes away what nobody reads, before many are kept for the time of a list.
pub fn slim(scaler: &mut impl Scaler) {
    prune(scaler.meta_mut());
}

/// An autoscaler.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Owner {
    kind: &'static str,
    namespace: String,
    name: String,
}

/// All that scale something. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Autoscalers(Arc<Mutex<Index>>);

#[derive(Debug, Default)]
struct Index {
    targets: HashMap<Owner, Scales>,
    by_target: HashMap<TargetKey, BTreeSet<Owner>>,
    /// Of each kind that is being listed anew: those that were there already in the new list. The others go at its end, and
    /// not before: what has a master is not free while it is looked for.
    listing: HashMap<&'static str, HashSet<Owner>>,
}

/// What an autoscaler scales.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scales {
    target: TargetKey,
    /// Who made the autoscaler and keeps it, by kind and name: KEDA makes one for each ScaledObject.
    kept_by: Option<(String, String)>,
}

impl Autoscalers {
    /// Who scales a target: kind and name.
    #[must_use]
    pub fn of(&self, target: &TargetKey) -> Option<String> {
        let index = self.index();
        let owner = index.by_target.get(target)?.last()?;
        let Owner { kind, name, .. } = owner;
        Some(match &index.targets.get(owner)?.kept_by {
            Some((keeper, of)) => format!("{keeper} {of} (by its {kind} {name})"),
            None => format!("{kind} {name}"),
        })
    }

    /// Follows a watch until it ends; `heard` is told of each event, and `changed` of each target that got an autoscaler or
    /// lost one.
    pub async fn follow<K: Scaler>(
        self,
        events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
        heard: impl Fn(&watcher::Result<watcher::Event<K>>),
        changed: impl Fn(&TargetKey),
    ) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            let affected = match &event {
                Ok(event) => self.take_in(event),
                Err(_) => Vec::new(),
            };
            heard(&event);
            affected.iter().for_each(&changed);
        }
    }

    fn take_in<K: Scaler>(&self, event: &watcher::Event<K>) -> Vec<TargetKey> {
        let mut index = self.index();
        match event {
            watcher::Event::Init => {
                index.listing.insert(K::KIND, HashSet::new());
                Vec::new()
            }
            watcher::Event::InitApply(scaler) => {
                let owner = Owner::of(scaler);
                if let Some(seen) = index.listing.get_mut(K::KIND) {
                    seen.insert(owner.clone());
                }
                index.set(owner, scaler)
            }
            watcher::Event::Apply(scaler) => index.set(Owner::of(scaler), scaler),
            watcher::Event::Delete(scaler) => index.remove(&Owner::of(scaler)).into_iter().collect(),
            watcher::Event::InitDone => index.end_of_list(K::KIND),
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn set(&mut self, owner: Owner, scaler: &impl Scaler) -> Vec<TargetKey> {
        // One that cannot be decoded scales what it did before, as far as anybody knows.
        let Some(scales) = scaler.target() else {
            return Vec::new();
        };
        let target = TargetKey {
            namespace: owner.namespace.clone(),
            group: group_of(scales.api_version.as_deref().unwrap_or("apps/v1")).to_owned(),
            kind: scales.kind.clone().unwrap_or_else(|| "Deployment".to_owned()),
            name: scales.name.clone(),
        };
        let mut owners = scaler.owner_references().iter();
        let keeper = owners.find(|owner| owner.controller == Some(true));
        let scales = Scales {
            target: target.clone(),
            kept_by: keeper.map(|keeper| (keeper.kind.clone(), keeper.name.clone())),
        };
        if self.targets.get(&owner) == Some(&scales) {
            return Vec::new();
        }
        let mut affected: Vec<_> = self.remove(&owner).into_iter().collect();
        self.by_target
            .entry(target.clone())
            .or_default()
            .insert(owner.clone());
        self.targets.insert(owner, scales);
        affected.push(target);
        affected
    }

    fn remove(&mut self, owner: &Owner) -> Option<TargetKey> {
        let target = self.targets.remove(owner)?.target;
        if let Some(owners) = self.by_target.get_mut(&target) {
            owners.remove(owner);
            if owners.is_empty() {
                self.by_target.remove(&target);
            }
        }
        Some(target)
    }

    fn end_of_list(&mut self, kind: &'static str) -> Vec<TargetKey> {
        let seen = self.listing.remove(kind).unwrap_or_default();
        let known = self.targets.keys();
        let gone: Vec<_> = known
            .filter(|owner| owner.kind == kind && !seen.contains(owner))
            .cloned()
            .collect();
        gone.iter().filter_map(|owner| self.remove(owner)).collect()
    }
}

impl Owner {
    fn of<K: Scaler>(scaler: &K) -> Self {
        Self {
            kind: K::KIND,
            namespace: scaler.namespace().unwrap_or_default(),
            name: scaler.name_any(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::targets::Kind;

    fn autoscaler(name: &str, kind: &str, target: &str) -> Autoscaler {
        serde_json::from_value(json!({
            "metadata": {"namespace": "default", "name": name},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": target}},
        }))
        .unwrap()
    }

    fn scaled_object(name: &str, target: serde_json::Value) -> ScaledObject {
        serde_json::from_value(json!({
            "metadata": {"namespace": "default", "name": name},
            "spec": {"scaleTargetRef": target, "triggers": []},
        }))
        .unwrap()
    }

    fn web(kind: Kind) -> TargetKey {
        TargetKey::known(kind, "default".to_owned(), "web".to_owned())
    }

    #[test]
    fn target_is_known_by_its_autoscaler_until_that_is_gone() {
        let autoscalers = Autoscalers::default();
        let hpa = autoscaler("hpa", "Deployment", "web");
        let target = web(Kind::Deployment);
        let apply = watcher::Event::Apply(hpa.clone());
        assert_eq!(autoscalers.take_in(&apply), std::slice::from_ref(&target));
        assert_eq!(autoscalers.take_in(&apply), [], "nothing changed");
        let by = "HorizontalPodAutoscaler hpa".to_owned();
        assert_eq!(autoscalers.of(&target), Some(by));
        let elsewhere = TargetKey {
            namespace: "other".to_owned(),
            ..target.clone()
        };
        for other in [elsewhere, web(Kind::StatefulSet)] {
            assert_eq!(autoscalers.of(&other), None);
        }
        assert_eq!(
            autoscalers.take_in(&watcher::Event::Delete(hpa)),
            std::slice::from_ref(&target)
        );
        assert_eq!(autoscalers.of(&target), None);
    }

    #[test]
    fn scaled_object_without_a_kind_means_a_deployment() {
        let autoscalers = Autoscalers::default();
        let object = scaled_object("keda", json!({"name": "web"}));
        autoscalers.take_in(&watcher::Event::Apply(object));
        let by = "ScaledObject keda".to_owned();
        assert_eq!(autoscalers.of(&web(Kind::Deployment)), Some(by.clone()));

        let crew = json!({"apiVersion": "example.com/v1", "kind": "Crew", "name": "web"});
        autoscalers.take_in(&watcher::Event::Apply(scaled_object("keda", crew)));
        assert_eq!(
            autoscalers.of(&web(Kind::Deployment)),
            None,
            "it scales another now"
        );
        let crew = TargetKey {
            group: "example.com".to_owned(),
            kind: "Crew".to_owned(),
            ..web(Kind::Deployment)
        };
        assert_eq!(autoscalers.of(&crew), Some(by));
    }

    #[test]
    fn who_keeps_an_autoscaler_is_named_before_it() {
        let autoscalers = Autoscalers::default();
        let mut hpa = autoscaler("keda-hpa-jobs", "Deployment", "web");
        let owner = json!([{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "jobs", "uid": "1", "controller": true}]);
        hpa.metadata.owner_references = serde_json::from_value(owner).unwrap();
        autoscalers.take_in(&watcher::Event::Apply(hpa));
        assert_eq!(
            autoscalers.of(&web(Kind::Deployment)).unwrap(),
            "ScaledObject jobs (by its HorizontalPodAutoscaler keda-hpa-jobs)"
        );
    }

    #[test]
    fn target_of_two_is_free_when_both_are_gone() {
        let autoscalers = Autoscalers::default();
        let hpa = autoscaler("hpa", "Deployment", "web");
        let object = scaled_object("keda", json!({"name": "web"}));
        autoscalers.take_in(&watcher::Event::Apply(hpa.clone()));
        autoscalers.take_in(&watcher::Event::Apply(object.clone()));
        autoscalers.take_in(&watcher::Event::Delete(object));
        assert!(autoscalers.of(&web(Kind::Deployment)).is_some());
        autoscalers.take_in(&watcher::Event::Delete(hpa));
        assert_eq!(autoscalers.of(&web(Kind::Deployment)), None);
    }

    #[test]
    fn autoscaler_that_cannot_be_decoded_keeps_its_target_until_deleted() {
        let autoscalers = Autoscalers::default();
        let target = web(Kind::Deployment);
        let guarded = |object: serde_json::Value| {
            serde_json::from_str::<Guarded<ScaledObject>>(&object.to_string()).unwrap()
        };
        let metadata = json!({"namespace": "default", "name": "keda"});
        let spec = json!({"scaleTargetRef": {"name": "web"}});
        let good = || guarded(json!({"metadata": metadata, "spec": spec}));
        let bad = || guarded(json!({"metadata": metadata, "spec": {"scaleTargetRef": "web"}}));
        autoscalers.take_in(&watcher::Event::Apply(good()));
        assert_eq!(autoscalers.take_in(&watcher::Event::Apply(bad())), []);
        for event in [
            watcher::Event::Init,
            watcher::Event::InitApply(bad()),
            watcher::Event::InitDone,
        ] {
            assert_eq!(autoscalers.take_in(&event), []);
        }
        assert_eq!(autoscalers.of(&target).as_deref(), Some("ScaledObject keda"));
        let freed = autoscalers.take_in(&watcher::Event::Delete(bad()));
        assert_eq!(freed, std::slice::from_ref(&target));
        assert_eq!(autoscalers.of(&target), None);
    }

    #[test]
    fn target_is_not_free_while_its_autoscaler_is_listed_anew() {
        let autoscalers = Autoscalers::default();
        let target = web(Kind::Deployment);
        let hpa = || autoscaler("hpa", "Deployment", "web");
        let object = scaled_object("keda", json!({"name": "api"}));
        autoscalers.take_in(&watcher::Event::Apply(hpa()));
        autoscalers.take_in(&watcher::Event::Apply(object));
        let init = || watcher::Event::<Autoscaler>::Init;
        let done = || watcher::Event::<Autoscaler>::InitDone;
        assert_eq!(autoscalers.take_in(&init()), []);
        assert!(autoscalers.of(&target).is_some());
        assert_eq!(autoscalers.take_in(&watcher::Event::InitApply(hpa())), []);
        assert_eq!(autoscalers.take_in(&done()), []);
        assert!(autoscalers.of(&target).is_some());
        // It was deleted while nobody watched.
        autoscalers.take_in(&init());
        assert_eq!(autoscalers.take_in(&done()), std::slice::from_ref(&target));
        assert_eq!(autoscalers.of(&target), None);
        let api = TargetKey {
            name: "api".to_owned(),
            ..target
        };
        assert!(autoscalers.of(&api).is_some(), "of another kind");
    }
}
