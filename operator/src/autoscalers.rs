//! Which Deployments a HorizontalPodAutoscaler scales: two masters of one count would fight.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, StreamExt};
use kube::{ResourceExt, runtime::watcher};

use crate::objects::Autoscaler;

/// A Deployment, by namespace and name.
type Target = (String, String);

/// All HorizontalPodAutoscalers of Deployments. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Autoscalers(Arc<Mutex<Index>>);

#[derive(Debug, Default)]
struct Index {
    /// By namespace and name of the autoscaler.
    targets: HashMap<(String, String), Target>,
    by_target: HashMap<Target, String>,
}

impl Autoscalers {
    /// The autoscaler of a Deployment.
    #[must_use]
    pub fn of(&self, namespace: &str, deployment: &str) -> Option<String> {
        let key = (namespace.to_owned(), deployment.to_owned());
        self.index().by_target.get(&key).cloned()
    }

    /// Follows a watch until it ends; `changed` is told the namespace and name of each Deployment that got an autoscaler or
    /// lost one.
    pub async fn follow(
        self,
        events: impl Stream<Item = watcher::Result<watcher::Event<Autoscaler>>>,
        changed: impl Fn(&str, &str),
    ) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            let affected = match event {
                Ok(event) => self.take_in(&event),
                Err(error) => {
                    tracing::debug!(%error, "HorizontalPodAutoscalers cannot be watched");
                    continue;
                }
            };
            for (namespace, name) in affected {
                changed(&namespace, &name);
            }
        }
    }

    fn take_in(&self, event: &watcher::Event<Autoscaler>) -> Vec<Target> {
        let mut index = self.index();
        match event {
            watcher::Event::Init => {
                index.by_target.clear();
                index.targets.drain().map(|(_, target)| target).collect()
            }
            watcher::Event::InitApply(autoscaler) | watcher::Event::Apply(autoscaler) => {
                index.set(autoscaler)
            }
            watcher::Event::Delete(autoscaler) => index.remove(&key(autoscaler)).into_iter().collect(),
            watcher::Event::InitDone => Vec::new(),
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn set(&mut self, autoscaler: &Autoscaler) -> Vec<Target> {
        let (namespace, name) = key(autoscaler);
        let scales = &autoscaler.spec.scale_target_ref;
        let target = (scales.kind == "Deployment").then(|| (namespace.clone(), scales.name.clone()));
        let key = (namespace, name);
        if self.targets.get(&key) == target.as_ref() {
            return Vec::new();
        }
        let mut affected: Vec<_> = self.remove(&key).into_iter().collect();
        if let Some(target) = target {
            self.by_target.insert(target.clone(), key.1.clone());
            self.targets.insert(key, target.clone());
            affected.push(target);
        }
        affected
    }

    fn remove(&mut self, key: &(String, String)) -> Option<Target> {
        let target = self.targets.remove(key)?;
        self.by_target.remove(&target);
        Some(target)
    }
}

fn key(autoscaler: &Autoscaler) -> (String, String) {
    (autoscaler.namespace().unwrap_or_default(), autoscaler.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn autoscaler(name: &str, kind: &str, target: &str) -> Autoscaler {
        serde_json::from_value(json!({
            "metadata": {"namespace": "default", "name": name},
            "spec": {"scaleTargetRef": {"kind": kind, "name": target}},
        }))
        .unwrap()
    }

    #[test]
    fn deployment_is_known_by_its_autoscaler_until_that_is_gone() {
        let autoscalers = Autoscalers::default();
        let web = autoscaler("hpa", "Deployment", "web");
        let target = ("default".to_owned(), "web".to_owned());
        assert_eq!(
            autoscalers.take_in(&watcher::Event::Apply(web.clone())),
            std::slice::from_ref(&target)
        );
        assert_eq!(
            autoscalers.take_in(&watcher::Event::Apply(web.clone())),
            [],
            "nothing changed"
        );
        assert_eq!(autoscalers.of("default", "web").as_deref(), Some("hpa"));
        assert_eq!(autoscalers.of("other", "web"), None);
        assert_eq!(autoscalers.take_in(&watcher::Event::Delete(web)), [target]);
        assert_eq!(autoscalers.of("default", "web"), None);
    }

    #[test]
    fn autoscaler_of_another_kind_is_none_of_our_business() {
        let autoscalers = Autoscalers::default();
        autoscalers.take_in(&watcher::Event::Apply(autoscaler("hpa", "StatefulSet", "web")));
        assert_eq!(autoscalers.of("default", "web"), None);
    }
}
