//! Objects that cannot be decoded: each fails alone, and not the list that it is in.
//!
//! The API server stores what the CustomResourceDefinition of that time let in. After an edit of it, beside a newer release, or after
//! a write to etcd, an object may have a value that this release cannot decode.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Resource, ResourceExt, runtime::watcher};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::value::RawValue;

use crate::{
    events::{Event, Events},
    metrics::Metrics,
};

/// An object, or why it cannot be decoded.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, Box<Undecodable>>);

/// An object that cannot be decoded.
#[derive(Clone, Debug)]
pub struct Undecodable {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// The field, and what is wrong with it.
    pub error: String,
}

/// The metadata of any object.
#[derive(Deserialize)]
struct Bare {
    metadata: ObjectMeta,
}

/// From a slice of the API server's answer, without a copy: `kube::core::DeserializeGuard` makes a tree of every object first, and
/// copies it. Works where the object is read in place: in lists, and in watch events, whose `type` the API server writes first.
impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        if let Ok(object) = serde_json::from_str(json) {
            return Ok(Self(Ok(object)));
        }
        let Bare { metadata } = serde_json::from_str(json).map_err(D::Error::custom)?;
        let error = describe_error::<K>(json);
        Ok(Self(Err(Box::new(Undecodable { metadata, error }))))
    }
}

/// The field that cannot be decoded, and why: `spec.replicas: invalid type: string "two", expected i32`.
fn describe_error<K: DeserializeOwned>(json: &str) -> String {
    let mut json = serde_json::Deserializer::from_str(json);
    let decoded: Result<K, _> = serde_path_to_error::deserialize(&mut json);
    let Err(error) = decoded else {
        return String::new();
    };
    let message = error.inner().to_string();
    // A place in what the API server sent, which nobody sees.
    let message = message
        .rsplit_once(" at line ")
        .map_or(&*message, |(message, _)| message);
    format!("{}: {message}", error.path())
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(undecodable) => &undecodable.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(undecodable) => &mut undecodable.metadata,
        }
    }
}

/// The event, if its object can be decoded; else with what `last` makes of it, if anything.
pub fn decoded<K>(
    event: watcher::Event<Guarded<K>>,
    last: impl FnOnce(Undecodable) -> Option<K>,
) -> Option<watcher::Event<K>> {
    let object = |guarded: Guarded<K>| match guarded.0 {
        Ok(object) => Some(object),
        Err(undecodable) => last(*undecodable),
    };
    Some(match event {
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitApply(guarded) => watcher::Event::InitApply(object(guarded)?),
        watcher::Event::InitDone => watcher::Event::InitDone,
        watcher::Event::Apply(guarded) => watcher::Event::Apply(object(guarded)?),
        watcher::Event::Delete(guarded) => watcher::Event::Delete(object(guarded)?),
    })
}

/// The objects that cannot be decoded now, of all watches. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct UndecodableObjects(Arc<Mutex<HashMap<Key, Known>>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: String,
    namespace: Option<String>,
    name: String,
}

#[derive(Debug)]
struct Known {
    reference: ObjectReference,
    error: String,
    /// Whether the list that is being read had it.
    is_listed: bool,
    /// Whether an event about this error was published in this term.
    is_reported: bool,
}

impl UndecodableObjects {
    /// Takes in an event of a watch: logs an object that cannot be decoded, once for each of its versions, and counts it. Answers
    /// whether there may be something to report; while a list is read only its end is such a time.
    pub fn on_event<K: Resource<DynamicType = ()>>(
        &self,
        event: &watcher::Event<Guarded<K>>,
        metrics: &Metrics,
    ) -> bool {
        let kind = K::kind(&());
        let mut objects = self.objects();
        let before = objects.len();
        match event {
            watcher::Event::Init => {
                let of_kind = objects.iter_mut().filter(|(key, _)| key.kind == kind);
                of_kind.for_each(|(_, known)| known.is_listed = false);
            }
            watcher::Event::InitDone => objects.retain(|key, known| key.kind != kind || known.is_listed),
            watcher::Event::Delete(object) => {
                objects.remove(&Key::of(object));
            }
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => match &object.0 {
                Err(undecodable) => note(&mut objects, object, &undecodable.error),
                Ok(_) if objects.is_empty() => {}
                Ok(_) => {
                    if let Some(known) = objects.remove(&Key::of(object)) {
                        tracing::info!(object = %in_words(&known.reference), "can be decoded again");
                    }
                }
            },
        }
        // After a list in any case: a series that is 0 shows that the kind is watched.
        if objects.len() != before || matches!(event, watcher::Event::InitDone) {
            let count = objects.keys().filter(|key| key.kind == kind).count();
            metrics.undecodable(&kind, count);
        }
        match event {
            watcher::Event::Apply(object) => object.0.is_err(),
            watcher::Event::InitDone => !objects.is_empty(),
            _ => false,
        }
    }

    /// Publishes a Warning about each object and error that had none in this term. For the operator that leads: no other may write.
    pub fn report(&self, events: &Events) {
        for known in self.objects().values_mut().filter(|known| !known.is_reported) {
            known.is_reported = true;
            let note = format!(
                "{}; this release of the operator cannot read the object and leaves it as it is: correct the field, or install operator \
                 and CustomResourceDefinitions of one release",
                known.error
            );
            events.tell(
                known.reference.clone(),
                Event::warning("Undecodable", "Decode", note),
            );
        }
    }

    /// Reports all again: a term began, and the leader before may not have done it.
    pub fn begin_term(&self) {
        for known in self.objects().values_mut() {
            known.is_reported = false;
        }
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<Key, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self {
            kind: K::kind(&()).into_owned(),
            namespace: object.namespace(),
            name: object.name_any(),
        }
    }
}

fn note<K: Resource<DynamicType = ()>>(objects: &mut HashMap<Key, Known>, object: &Guarded<K>, error: &str) {
    let reference = object.object_ref(&());
    let last = objects.get(&Key::of(object));
    if last.is_none_or(|last| last.reference != reference) {
        tracing::warn!(object = %in_words(&reference), error, "cannot be decoded, and is left as it is");
    }
    let is_reported = last.is_some_and(|last| last.is_reported && last.error == error);
    let known = Known {
        reference,
        error: error.to_owned(),
        is_listed: true,
        is_reported,
    };
    objects.insert(Key::of(object), known);
}

fn in_words(reference: &ObjectReference) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!(
        "{} {}/{}",
        part(&reference.kind),
        part(&reference.namespace),
        part(&reference.name)
    )
}

#[cfg(test)]
mod tests {
    use crds::WorkerPool;
    use kube::core::{ObjectList, WatchEvent};
    use prometheus_client::registry::Registry;
    use serde_json::json;

    use super::*;

    fn pool(name: &str, version: &str, spec: &serde_json::Value) -> serde_json::Value {
        json!({
            "apiVersion": "workerpool.dev/v1alpha1", "kind": "WorkerPool",
            "metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": version},
            "spec": spec,
        })
    }

    fn guarded(object: &serde_json::Value) -> Guarded<WorkerPool> {
        serde_json::from_str(&object.to_string()).unwrap()
    }

    fn bad(version: &str) -> Guarded<WorkerPool> {
        guarded(&pool(
            "bad",
            version,
            &json!({"scaling": {"maxReplicas": "many"}}),
        ))
    }

    fn good() -> Guarded<WorkerPool> {
        guarded(&pool("bad", "9", &json!({})))
    }

    #[test]
    fn list_has_object_that_cannot_be_decoded_beside_others() {
        let items = [
            pool("good", "1", &json!({})),
            pool("bad", "2", &json!({"scaling": {"maxReplicas": "many"}})),
        ];
        let list = json!({"kind": "WorkerPoolList", "apiVersion": "workerpool.dev/v1alpha1", "metadata": {}, "items": items});
        let list: ObjectList<Guarded<WorkerPool>> = serde_json::from_str(&list.to_string()).unwrap();
        let [good, bad] = &*list.items else {
            panic!("{list:?}")
        };
        assert_eq!(good.0.as_ref().unwrap().name_any(), "good");
        let undecodable = bad.0.as_ref().unwrap_err();
        assert_eq!(undecodable.metadata.resource_version.as_deref(), Some("2"));
        assert_eq!(
            undecodable.error,
            "spec.scaling.maxReplicas: invalid type: string \"many\", expected i32"
        );
    }

    #[test]
    fn watch_event_with_object_that_cannot_be_decoded_is_no_error() {
        // As the API server writes it: the type first.
        let line = |object| format!(r#"{{"type":"MODIFIED","object":{object}}}"#);
        for object in [pool("good", "1", &json!({})), pool("bad", "2", &json!(7))] {
            let event: WatchEvent<Guarded<WorkerPool>> = serde_json::from_str(&line(object.clone())).unwrap();
            let WatchEvent::Modified(guarded) = event else {
                panic!("{event:?}")
            };
            assert_eq!(guarded.0.is_ok(), object["spec"].is_object());
        }
    }

    #[test]
    fn event_without_last_object_is_left_out_and_with_it_has_that() {
        let nothing = |_: Undecodable| None;
        assert!(decoded(watcher::Event::Apply(bad("1")), nothing).is_none());
        assert!(decoded(watcher::Event::InitApply(bad("1")), nothing).is_none());
        assert!(decoded(watcher::Event::Delete(bad("1")), nothing).is_none());
        assert!(matches!(
            decoded(watcher::Event::<Guarded<WorkerPool>>::InitDone, nothing),
            Some(watcher::Event::InitDone)
        ));
        let last = |undecodable: Undecodable| {
            let mut pool = WorkerPool::new("last", crds::WorkerPoolSpec::default());
            pool.metadata = undecodable.metadata;
            Some(pool)
        };
        let event = decoded(watcher::Event::Delete(bad("7")), last);
        let Some(watcher::Event::Delete(pool)) = event else {
            panic!("{event:?}")
        };
        assert_eq!(pool.resource_version().as_deref(), Some("7"));
    }

    /// The number of objects that the metric says, and of those without an event.
    fn counts(objects: &UndecodableObjects, registry: &Registry) -> (Option<String>, usize) {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        let series = "operator_undecodable_objects{kind=\"WorkerPool\"} ";
        let count = text.lines().find_map(|line| line.strip_prefix(series));
        let unreported = objects
            .objects()
            .values()
            .filter(|known| !known.is_reported)
            .count();
        (count.map(str::to_owned), unreported)
    }

    fn mark_reported(objects: &UndecodableObjects) {
        for known in objects.objects().values_mut() {
            known.is_reported = true;
        }
    }

    #[test]
    fn undecodable_object_is_counted_until_decoded_deleted_or_not_listed() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let objects = UndecodableObjects::default();
        let count = || counts(&objects, &registry).0;
        let take_in = |event: watcher::Event<Guarded<WorkerPool>>| objects.on_event(&event, &metrics);
        take_in(watcher::Event::Init);
        take_in(watcher::Event::InitDone);
        assert_eq!(count().as_deref(), Some("0"), "from the first list on");
        let ends = [
            vec![watcher::Event::Apply(good())],
            vec![watcher::Event::Delete(bad("3"))],
            vec![watcher::Event::Init, watcher::Event::InitDone],
            vec![
                watcher::Event::Init,
                watcher::Event::InitApply(good()),
                watcher::Event::InitDone,
            ],
        ];
        for end in ends {
            take_in(watcher::Event::Apply(bad("1")));
            take_in(watcher::Event::Apply(bad("2")));
            assert_eq!(count().as_deref(), Some("1"));
            take_in(watcher::Event::Init);
            take_in(watcher::Event::InitApply(bad("2")));
            take_in(watcher::Event::InitDone);
            assert_eq!(count().as_deref(), Some("1"), "it is listed again");
            for event in end {
                take_in(event);
            }
            assert_eq!(count().as_deref(), Some("0"));
        }
    }

    #[test]
    fn event_is_due_once_for_each_error_and_term() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let objects = UndecodableObjects::default();
        let due = |object: Guarded<WorkerPool>| {
            objects.on_event(&watcher::Event::Apply(object), &metrics);
            let due = counts(&objects, &registry).1;
            mark_reported(&objects);
            due
        };
        assert_eq!(due(bad("1")), 1);
        assert_eq!(due(bad("2")), 0, "another version with the same error");
        assert_eq!(due(guarded(&pool("bad", "3", &json!({"queues": 7})))), 1);
        objects.begin_term();
        assert_eq!(
            counts(&objects, &registry).1,
            1,
            "the leader before may not have reported it"
        );
    }
}
