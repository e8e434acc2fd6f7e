//! Who has which queue and which target: the oldest pool that names it.

use std::collections::{BTreeSet, HashMap};

use crds::WorkerPool;
use k8s_openapi::jiff::Timestamp;
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use queue::{Address, Server};

use crate::{PoolRef, refusal::Refusal, source, targets::TargetKey};

/// What only one pool may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Thing {
    /// A queue on a server; the database of its jobs makes no difference.
    Queue {
        /// `host:port`, or the sentinels and what they call the master.
        server: String,
        /// Its database.
        database: i32,
        /// Its name.
        name: String,
    },
    /// Something with replicas.
    Target(TargetKey),
}

/// A pool that names a thing; the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claimant {
    created: Option<Timestamp>,
    namespace: String,
    name: String,
}

/// All claims. Kept by the watch on pools and not by reconciling, so that after a restart no younger pool is served before
/// the older one is known.
#[derive(Debug, Default)]
pub struct Claims {
    claimants: HashMap<Thing, BTreeSet<Claimant>>,
    things: HashMap<PoolRef, (Claimant, Vec<Thing>)>,
}

impl Claims {
    /// Takes in what a pool names now; answers the other pools for which that may make a difference.
    pub fn set(&mut self, pool: &WorkerPool) -> Vec<PoolRef> {
        let claimant = Claimant {
            created: pool.creation_timestamp().map(|time| time.0),
            namespace: pool.namespace().unwrap_or_default(),
            name: pool.name_any(),
        };
        let pool_ref = ObjectRef::from_obj(pool);
        let things = things(pool);
        if self
            .things
            .get(&pool_ref)
            .is_some_and(|known| *known == (claimant.clone(), things.clone()))
        {
            return Vec::new();
        }
        let mut affected = self.remove(&pool_ref);
        for thing in &things {
            self.claimants
                .entry(thing.clone())
                .or_default()
                .insert(claimant.clone());
            affected.extend(self.pools(thing));
        }
        affected.retain(|other| *other != pool_ref);
        self.things.insert(pool_ref, (claimant, things));
        affected
    }

    /// Drops the claims of a pool that is gone; answers the pools that named the same.
    pub fn remove(&mut self, pool: &PoolRef) -> Vec<PoolRef> {
        let Some((claimant, things)) = self.things.remove(pool) else {
            return Vec::new();
        };
        let mut affected = Vec::new();
        for thing in things {
            if let Some(claimants) = self.claimants.get_mut(&thing) {
                claimants.remove(&claimant);
                if claimants.is_empty() {
                    self.claimants.remove(&thing);
                } else {
                    affected.extend(self.pools(&thing));
                }
            }
        }
        affected
    }

    /// Refuses a pool that names what an older one has.
    ///
    /// # Errors
    /// [`Refusal::QueueTaken`], [`Refusal::TargetTaken`].
    pub fn check(&self, pool: &PoolRef) -> Result<(), Refusal> {
        let Some((claimant, things)) = self.things.get(pool) else {
            return Ok(());
        };
        for thing in things {
            let first = self.claimants.get(thing).and_then(BTreeSet::first);
            if let Some(first) = first.filter(|first| *first != claimant) {
                let by = format!("{}/{}", first.namespace, first.name);
                return Err(match thing {
                    Thing::Queue { .. } => Refusal::QueueTaken { by },
                    Thing::Target(target) => Refusal::TargetTaken {
                        by,
                        target: target.clone(),
                    },
                });
            }
        }
        Ok(())
    }

    /// All pools that name a thing.
    #[must_use]
    pub fn pools(&self, thing: &Thing) -> Vec<PoolRef> {
        let claimants = self.claimants.get(thing).into_iter().flatten();
        claimants
            .map(|claimant| ObjectRef::new(&claimant.name).within(&claimant.namespace))
            .collect()
    }

    /// All pools whose targets are so.
    #[must_use]
    pub fn pools_with(&self, so: impl Fn(&TargetKey) -> bool) -> Vec<PoolRef> {
        let is_so = |thing: &Thing| matches!(thing, Thing::Target(target) if so(target));
        let pools = self.things.iter();
        pools
            .filter(|(_, (_, things))| things.iter().any(is_so))
            .map(|(pool, _)| pool.clone())
            .collect()
    }

    /// All pools.
    #[must_use]
    pub fn all(&self) -> Vec<PoolRef> {
        self.things.keys().cloned().collect()
    }
}

fn things(pool: &WorkerPool) -> Vec<Thing> {
    let mut things = vec![Thing::Target(TargetKey::of(pool))];
    if let Ok(server) = source::place(pool) {
        let server = identity(&server);
        // Another system's queue is only read: any number may.
        let own = pool.spec.queues.iter().filter(|queue| queue.source.is_none());
        things.extend(own.map(|queue| Thing::Queue {
            server: server.clone(),
            database: pool.spec.redis.queue_db,
            name: queue.name.clone(),
        }));
    }
    things
}

/// Sentinels count in any order: whichever is asked first, the master is the same.
fn identity(server: &Server) -> String {
    let Some(sentinel) = &server.sentinel else {
        return server.address.to_string();
    };
    let mut addresses: Vec<_> = sentinel.addresses.iter().map(Address::to_string).collect();
    addresses.sort_unstable();
    format!("{} of {}", sentinel.master, addresses.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::targets::Kind;

    fn pool(name: &str, created: &str, spec: serde_json::Value) -> WorkerPool {
        serde_json::from_value(json!({
            "apiVersion": "workerpool.dev/v1alpha1",
            "kind": "WorkerPool",
            "metadata": {"name": name, "namespace": "default", "creationTimestamp": created},
            "spec": spec,
        }))
        .unwrap()
    }

    fn pool_ref(name: &str) -> PoolRef {
        ObjectRef::new(name).within("default")
    }

    #[test]
    fn of_two_pools_on_one_queue_the_younger_is_refused_until_the_older_is_gone() {
        let mut claims = Claims::default();
        claims.set(&pool("young", "2026-01-02T00:00:00Z", json!({})));
        // The older one is seen later, as after a restart.
        let affected = claims.set(&pool("old", "2026-01-01T00:00:00Z", json!({})));
        assert_eq!(affected, [pool_ref("young")]);
        assert_eq!(claims.check(&pool_ref("old")), Ok(()));
        let refusal = claims.check(&pool_ref("young")).unwrap_err();
        assert_eq!(
            refusal,
            Refusal::QueueTaken {
                by: "default/old".to_owned()
            }
        );

        assert_eq!(claims.remove(&pool_ref("old")), [pool_ref("young")]);
        assert_eq!(claims.check(&pool_ref("young")), Ok(()));
    }

    #[test]
    fn two_pools_cannot_scale_one_target_though_they_name_another_version() {
        let target = |queue: &str, version: &str, kind: &str| json!({"queues": [{"name": queue}], "scaleTargetRef": {"apiVersion": version, "kind": kind, "name": "web"}});
        let mut claims = Claims::default();
        claims.set(&pool(
            "a",
            "2026-01-01T00:00:00Z",
            target("a", "apps/v1", "Deployment"),
        ));
        claims.set(&pool(
            "b",
            "2026-01-02T00:00:00Z",
            target("b", "apps/v2", "Deployment"),
        ));
        claims.set(&pool(
            "c",
            "2026-01-03T00:00:00Z",
            target("c", "apps/v1", "StatefulSet"),
        ));
        claims.set(&pool(
            "d",
            "2026-01-04T00:00:00Z",
            target("d", "example.com/v1", "Deployment"),
        ));
        assert_eq!(claims.check(&pool_ref("c")), Ok(()), "another kind");
        assert_eq!(claims.check(&pool_ref("d")), Ok(()), "another group");
        let web = TargetKey::known(Kind::Deployment, "default".to_owned(), "web".to_owned());
        let refusal = claims.check(&pool_ref("b")).unwrap_err();
        assert_eq!(
            refusal,
            Refusal::TargetTaken {
                by: "default/a".to_owned(),
                target: web.clone(),
            }
        );
        assert_eq!(claims.pools(&Thing::Target(web)), [pool_ref("a"), pool_ref("b")]);
        assert_eq!(
            claims.pools_with(|target| target.kind == "StatefulSet"),
            [pool_ref("c")]
        );
    }

    #[test]
    fn same_queue_name_on_another_server_or_database_is_another_queue() {
        let mut claims = Claims::default();
        claims.set(&pool("a", "2026-01-01T00:00:00Z", json!({})));
        claims.set(&pool(
            "b",
            "2026-01-01T00:00:00Z",
            json!({"redis": {"address": "other"}}),
        ));
        claims.set(&pool(
            "c",
            "2026-01-01T00:00:00Z",
            json!({"redis": {"queueDB": 7}}),
        ));
        for name in ["a", "b", "c"] {
            assert_eq!(claims.check(&pool_ref(name)), Ok(()));
        }
    }

    #[test]
    fn queue_of_another_system_may_be_followed_by_any_number_of_pools() {
        let follows = |target: &str| {
            let queue = json!({"name": "mails", "source": {"waiting": [{"key": "rq:queue:mails"}]}});
            json!({"queues": [queue], "scaleTargetRef": {"name": target}})
        };
        let mut claims = Claims::default();
        claims.set(&pool("a", "2026-01-01T00:00:00Z", follows("one")));
        claims.set(&pool("b", "2026-01-02T00:00:00Z", follows("two")));
        claims.set(&pool("c", "2026-01-03T00:00:00Z", follows("two")));
        assert_eq!(claims.check(&pool_ref("b")), Ok(()));
        assert!(
            claims.check(&pool_ref("c")).is_err(),
            "though not the same target"
        );
    }

    #[test]
    fn sentinels_in_another_order_lead_to_the_same_queue() {
        let behind = |addresses: [&str; 2], master: &str| json!({"redis": {"sentinel": {"masterName": master, "addresses": addresses}}});
        let mut claims = Claims::default();
        claims.set(&pool("a", "2026-01-01T00:00:00Z", behind(["s1", "s2"], "jobs")));
        claims.set(&pool("b", "2026-01-02T00:00:00Z", behind(["s2", "s1"], "jobs")));
        claims.set(&pool("c", "2026-01-03T00:00:00Z", behind(["s1", "s2"], "mails")));
        assert!(claims.check(&pool_ref("b")).is_err());
        assert_eq!(claims.check(&pool_ref("c")), Ok(()));
    }
}
