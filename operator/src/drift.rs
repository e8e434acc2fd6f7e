//! Changes by others to a pool's own Deployment: when to apply it again. Pure.
//!
//! The API server counts the changes of a Deployment's spec and annotations in `metadata.generation`. The operator knows the
//! generation that its own last write left. Another one is somebody else's change: `kubectl set image`, an edit, a roll-back. A
//! server-side apply then puts back the fields that the operator owns and leaves those of others alone (a sidecar, the annotation
//! of `kubectl rollout restart`), so it is right whatever was changed, and changes nothing where all was as it should be.
//!
//! Another controller may undo each correction, so the intervals between corrections grow. A look that finds nothing to correct, as
//! after an annotation by a tool, does not count as one.

use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

/// The managers of the operator begin with this.
const OWN_MANAGERS: &str = "workerpool-operator/";
/// After a look that found nothing to correct the next one comes so long after it, at the earliest.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// The first correction comes at once, the second so long after it; the interval doubles with each.
const FIRST_INTERVAL: Duration = Duration::from_secs(30);
/// The longest interval.
const LAST_INTERVAL: Duration = Duration::from_secs(600);
/// After so long without a correction the next one comes at once again.
const PEACE: Duration = Duration::from_secs(3600);

/// What is known of a pool's own Deployment.
#[derive(Debug, Default)]
pub struct Drift {
    /// The generation that our own last write left, as far as that is known.
    generation: Option<i64>,
    /// The hash of what was applied last, or found as it should be, in this term of leadership.
    applied: Option<Box<str>>,
    looks: Option<Looks>,
}

/// Past looks at what others changed.
#[derive(Clone, Copy, Debug)]
struct Looks {
    last: Instant,
    corrections: u32,
    corrected_at: Instant,
}

impl Looks {
    /// The corrections that make the next one wait.
    fn corrections(&self, now: Instant) -> u32 {
        if now < self.corrected_at + PEACE {
            self.corrections
        } else {
            0
        }
    }
}

/// A Deployment as the watch shows it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Its generation; `None` if the API server counts none.
    pub generation: Option<i64>,
    /// The hash of what was applied last, by its annotation or our own last write.
    pub applied: Option<&'a str>,
    /// Whether the watch has yet to show our own last write.
    pub behind: bool,
}

/// What to do about a pool's Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is not there: make it.
    Create,
    /// The pool or the operator's own settings changed: apply it.
    Update,
    /// Somebody else changed it, or may have: apply it, with the count that it has.
    Correct,
    /// It is as it should be, its count aside; or it is to be corrected in so long.
    Keep(Option<Duration>),
}

impl Drift {
    /// At the start of a term of leadership: the generation in the pool's status.
    #[must_use]
    pub fn starting_at(generation: Option<i64>) -> Self {
        Self {
            generation,
            ..Self::default()
        }
    }

    /// The generation that the Deployment has if nobody else changes it.
    #[must_use]
    pub fn generation(&self) -> Option<i64> {
        self.generation
    }

    /// What to do; `wanted` is the hash of what should be.
    #[must_use]
    pub fn plan(&mut self, wanted: Option<&str>, shown: Option<Shown<'_>>, now: Instant) -> Plan {
        let Some(shown) = shown else {
            return Plan::Create;
        };
        let same = shown.applied.is_some() && shown.applied == wanted;
        if !same && (self.applied.as_deref() != wanted || shown.generation.is_none()) {
            return Plan::Update;
        }
        let expected = same && (shown.generation.is_none() || shown.generation == self.generation);
        if expected && self.applied.as_deref() != wanted {
            self.applied = wanted.map(Into::into);
        }
        if shown.behind || expected {
            return Plan::Keep(None);
        }
        match self.wait(now) {
            Duration::ZERO => Plan::Correct,
            wait => Plan::Keep(Some(wait)),
        }
    }

    /// The Deployment was applied, and has this generation now.
    pub fn applied(&mut self, hash: Option<&str>, generation: Option<i64>) {
        self.applied = hash.map(Into::into);
        self.generation = generation;
    }

    /// It was applied because others had changed it; `corrected`: the apply changed something.
    pub fn looked(&mut self, corrected: bool, now: Instant) {
        let before = self.looks.map_or(0, |looks| looks.corrections(now));
        let corrected_at = self.looks.map_or(now, |looks| looks.corrected_at);
        self.looks = Some(Looks {
            last: now,
            corrections: before.saturating_add(corrected.into()),
            corrected_at: if corrected { now } else { corrected_at },
        });
    }

    /// Its count was changed through `/scale`, whose answer has no generation.
    pub fn scaled(&mut self) {
        self.generation = self.generation.map(|generation| generation.saturating_add(1));
    }

    fn wait(&self, now: Instant) -> Duration {
        let Some(looks) = self.looks else {
            return Duration::ZERO;
        };
        let interval = match looks.corrections(now).checked_sub(1) {
            None => LOOK_INTERVAL,
            Some(others) => FIRST_INTERVAL
                .saturating_mul(2_u32.saturating_pow(others))
                .min(LAST_INTERVAL),
        };
        (looks.last + interval).saturating_duration_since(now)
    }
}

/// Who changed what of an object that should be as `wanted`, by its managed fields; where nobody has a field of ours, as it was taken
/// away, who wrote last. Neither the operator nor, through a subresource, a controller or a scaler.
#[must_use]
pub fn blame(managed: &[ManagedFieldsEntry], wanted: &Value) -> Option<String> {
    let is_other = |entry: &&ManagedFieldsEntry| {
        let manager = entry.manager.as_deref().unwrap_or_default();
        entry.subresource.as_deref().unwrap_or_default().is_empty() && !manager.starts_with(OWN_MANAGERS)
    };
    let others = || managed.iter().filter(is_other);
    let took = others().find_map(|entry| {
        let field = first_owned(&entry.fields_v1.as_ref()?.0, wanted)?;
        Some(format!("{field}, by {}", entry.manager.as_ref()?))
    });
    took.or_else(|| {
        let last = others().max_by(|one, other| one.time.cmp(&other.time))?;
        Some(format!("last by {}", last.manager.as_ref()?))
    })
}

/// The path of the first field that managed fields have and `wanted` sets too.
fn first_owned(fields: &Value, wanted: &Value) -> Option<String> {
    fields.as_object()?.iter().find_map(|(key, below)| {
        let (name, value) = match key.split_once(':')? {
            ("f", name) => (name.to_owned(), wanted.get(name)?),
            ("k", keys) => item(keys, wanted)?,
            _ => return None,
        };
        if below.as_object().is_some_and(serde_json::Map::is_empty) {
            return Some(name);
        }
        Some(format!("{name}.{}", first_owned(below, value)?))
    })
}

/// The item of a list that has these keys, and how it is called.
fn item<'a>(keys: &str, list: &'a Value) -> Option<(String, &'a Value)> {
    let keys: serde_json::Map<String, Value> = serde_json::from_str(keys).ok()?;
    let has_keys = |item: &&Value| keys.iter().all(|(key, value)| item.get(key) == Some(value));
    let item = list.as_array()?.iter().find(has_keys)?;
    let name = keys.values().next()?;
    Some((
        name.as_str().map_or_else(|| name.to_string(), str::to_owned),
        item,
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(generation: i64, applied: &str) -> Option<Shown<'_>> {
        Some(Shown {
            generation: Some(generation),
            applied: Some(applied),
            behind: false,
        })
    }

    /// A Deployment that was applied in this term, with the hash `a`.
    fn at(generation: i64) -> Drift {
        let mut drift = Drift::default();
        drift.applied(Some("a"), Some(generation));
        drift
    }

    #[test]
    fn generation_of_another_is_corrected() {
        let now = Instant::now();
        let mut drift = at(7);
        assert_eq!(drift.plan(Some("a"), None, now), Plan::Create);
        assert_eq!(drift.plan(Some("a"), shown(7, "a"), now), Plan::Keep(None));
        assert_eq!(drift.plan(Some("a"), shown(8, "a"), now), Plan::Correct);
        // Created again, as by `kubectl replace --force`.
        assert_eq!(drift.plan(Some("a"), shown(1, "a"), now), Plan::Correct);
    }

    #[test]
    fn own_change_of_count_is_expected() {
        let now = Instant::now();
        let mut drift = at(7);
        drift.scaled();
        assert_eq!(drift.generation(), Some(8));
        assert_eq!(drift.plan(Some("a"), shown(8, "a"), now), Plan::Keep(None));
        assert_eq!(drift.plan(Some("a"), shown(9, "a"), now), Plan::Correct);
    }

    #[test]
    fn watch_that_lags_behind_own_write_shows_no_drift() {
        let mut lagging = shown(6, "a");
        if let Some(shown) = &mut lagging {
            shown.behind = true;
        }
        assert_eq!(at(7).plan(Some("a"), lagging, Instant::now()), Plan::Keep(None));
    }

    #[test]
    fn status_without_generation_is_verified_once() {
        let now = Instant::now();
        let mut drift = Drift::starting_at(None);
        assert_eq!(drift.plan(Some("a"), shown(7, "a"), now), Plan::Correct);
        drift.applied(Some("a"), Some(7));
        assert_eq!(drift.plan(Some("a"), shown(7, "a"), now), Plan::Keep(None));
        let mut restarted = Drift::starting_at(Some(7));
        assert_eq!(restarted.plan(Some("a"), shown(7, "a"), now), Plan::Keep(None));
    }

    #[test]
    fn edit_of_pool_waits_for_no_interval() {
        let now = Instant::now();
        let mut drift = at(7);
        drift.looked(true, now);
        assert_eq!(
            drift.plan(Some("a"), shown(8, "a"), now),
            Plan::Keep(Some(FIRST_INTERVAL))
        );
        assert_eq!(drift.plan(Some("b"), shown(8, "a"), now), Plan::Update);
    }

    #[test]
    fn annotation_of_old_revision_is_drift_and_not_an_edit_of_pool() {
        let now = Instant::now();
        // After a restart.
        let mut drift = Drift::starting_at(Some(7));
        assert_eq!(drift.plan(Some("a"), shown(7, "a"), now), Plan::Keep(None));
        assert_eq!(drift.plan(Some("a"), shown(8, "old"), now), Plan::Correct);
        drift.looked(true, now);
        let mut removed = shown(9, "a");
        if let Some(shown) = &mut removed {
            shown.applied = None;
        }
        assert_eq!(
            drift.plan(Some("a"), removed, now),
            Plan::Keep(Some(FIRST_INTERVAL))
        );
    }

    fn entry(manager: &str, minute: u8, subresource: &str, fields: &Value) -> ManagedFieldsEntry {
        serde_json::from_value(json!({
            "manager": manager, "time": format!("2026-01-01T00:{minute:02}:00Z"), "subresource": subresource,
            "fieldsV1": fields,
        }))
        .unwrap()
    }

    #[test]
    fn blame_names_manager_that_has_field_of_ours() {
        let wanted =
            json!({"spec": {"template": {"spec": {"containers": [{"name": "worker", "image": "a"}]}}}});
        let of = |container: &str, field: &str| {
            let mut fields = json!({".": {}});
            fields[field] = json!({});
            let mut containers = json!({});
            containers[format!("k:{{\"name\":\"{container}\"}}")] = fields;
            json!({"f:spec": {"f:template": {"f:spec": {"f:containers": containers}}}})
        };
        let managed = [
            entry("kubectl-set", 1, "", &of("worker", "f:image")),
            entry("mesh", 2, "", &of("sidecar", "f:image")),
            entry("kubectl-edit", 3, "", &of("worker", "f:tty")),
        ];
        assert_eq!(
            blame(&managed, &wanted).as_deref(),
            Some("spec.template.spec.containers.worker.image, by kubectl-set")
        );
        assert_eq!(
            blame(&managed[1..], &wanted).as_deref(),
            Some("last by kubectl-edit")
        );
    }

    #[test]
    fn blame_names_neither_operator_nor_controller() {
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        let managed = [
            entry("kubectl-edit", 1, "", &json!({})),
            entry("kube-controller-manager", 3, "status", &replicas),
            entry("workerpool-operator/deployment", 4, "", &replicas),
        ];
        let wanted = json!({"spec": {"replicas": 1}});
        assert_eq!(blame(&managed, &wanted).as_deref(), Some("last by kubectl-edit"));
        assert_eq!(blame(&[], &wanted), None);
    }

    #[test]
    fn intervals_grow_up_to_ten_minutes_and_end_after_an_hour_of_peace() {
        let mut drift = at(7);
        let mut now = Instant::now();
        let mut intervals = Vec::new();
        for _ in 0..7 {
            drift.looked(true, now);
            let wait = drift.wait(now);
            intervals.push(wait.as_secs());
            now += wait;
            assert_eq!(drift.wait(now), Duration::ZERO);
        }
        assert_eq!(intervals, [30, 60, 120, 240, 480, 600, 600]);
        drift.looked(true, now + PEACE);
        assert_eq!(drift.wait(now + PEACE), FIRST_INTERVAL);
    }

    #[test]
    fn looks_that_find_nothing_do_not_grow_intervals() {
        let mut drift = at(7);
        let now = Instant::now();
        for _ in 0..9 {
            drift.looked(false, now);
        }
        assert_eq!(drift.wait(now), LOOK_INTERVAL);
        drift.looked(true, now);
        drift.looked(true, now);
        drift.looked(false, now);
        assert_eq!(drift.wait(now), 2 * FIRST_INTERVAL);
    }
}
