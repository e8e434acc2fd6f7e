//! What must hold after every step.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::TestCaseError, prop_assert, prop_assert_eq};
use queue::{Claimed, Payload};

use crate::{snapshot::Snapshot, steps::Step};

/// What the world knows about jobs that Redis does not.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Submitted and acknowledged, and not forgotten since.
    pub(crate) acknowledged: BTreeSet<String>,
    /// A foreign program meddled with its hash: what is promised of it is less.
    pub(crate) meddled: BTreeSet<String>,
    /// A foreign worker took an item of it, so that it may be nowhere.
    pub(crate) foreign: BTreeSet<String>,
    /// By which tokens each job completed, in its present generation.
    pub(crate) completed_by: BTreeMap<String, BTreeSet<String>>,
    /// Whose cancellation was promised, in the present generation.
    pub(crate) to_cancel: BTreeSet<String>,
}

type Check = Result<(), TestCaseError>;

impl Known {
    /// A job is handed out with what was submitted with it, if it was submitted and nobody deleted it since.
    pub(crate) fn payload_is_right(&self, claimed: &Claimed, submitted: Option<Payload>) -> Check {
        let id = claimed.job.id.as_str();
        let unsure = self.meddled.contains(id) || self.foreign.contains(id);
        if !unsure || claimed.payload.is_some() {
            prop_assert_eq!(&claimed.payload, &submitted, "{}", id);
        }
        Ok(())
    }
}

pub(crate) fn hold(known: &Known, before: &Snapshot, after: &Snapshot, step: &Step) -> Check {
    one_place_each(known, after)?;
    counters_agree(after)?;
    one_completion(known)?;
    terminal_absorbs(before, after, step)?;
    sweep_spares_what_is_somewhere(before, after, step)?;
    payloads_have_their_jobs(known, after)?;
    results_are_of_their_runs(known, after)?;
    changes_are_noted(before, after, step)?;
    chances_are_spent_by_runs_alone(before, after, step)
}

/// I1: every acknowledged job is somewhere, and in one place.
fn one_place_each(known: &Known, now: &Snapshot) -> Check {
    for id in now.leases.keys() {
        prop_assert!(!now.delayed.contains(id), "{id} is leased and delayed");
    }
    for id in &known.acknowledged {
        let Some(hash) = now.hashes.get(id) else {
            prop_assert!(known.meddled.contains(id), "the hash of {id} is gone");
            continue;
        };
        let leased = now.leases.contains_key(id);
        let (delayed, dead) = (now.delayed.contains(id), now.dead.contains(id));
        let (waits, terminal) = (now.waits(id), now.is_terminal(id));
        prop_assert!(
            hash.contains_key("id") || known.foreign.contains(id),
            "of {id} there is only a part: {hash:?}"
        );
        let somewhere = leased || delayed || waits || terminal || known.foreign.contains(id);
        prop_assert!(somewhere, "{id} is nowhere: {now:#?}");
        if known.meddled.contains(id) || known.foreign.contains(id) {
            continue;
        }
        if !terminal {
            let record = now.records.get(id).cloned().unwrap_or_default();
            prop_assert!(
                record.failures < 3 && record.lost < 3,
                "{id} is tried for ever: {record:?}"
            );
        }
        let places = [leased, delayed, dead, now.finished.contains(id)];
        let places = places.into_iter().filter(|place| *place).count();
        prop_assert!(places <= 1, "{id} is in {places} places: {now:#?}");
        for field in ["id", "status", "start", "end"] {
            prop_assert!(hash.contains_key(field), "{id} has no {field}");
        }
        prop_assert_eq!(leased, hash["status"] == "in progress", "{}: {:#?}", id, now);
        prop_assert_eq!(dead, hash["status"] == "failed", "{}: {:#?}", id, now);
        let ended = matches!(hash["status"].as_str(), "complete" | "cancelled");
        prop_assert_eq!(now.finished.contains(id), ended, "{}: {:#?}", id, now);
        prop_assert_eq!(
            hash.contains_key("worker"),
            leased || terminal && hash.contains_key("worker")
        );
    }
    Ok(())
}

/// I2 and I4: who holds what is counted right, and a token is there exactly as long as its lease.
fn counters_agree(now: &Snapshot) -> Check {
    prop_assert_eq!(usize::try_from(now.held).unwrap(), now.leases.len());
    let mut holds = BTreeMap::new();
    for id in now.leases.keys() {
        let record = now.records.get(id);
        prop_assert!(
            record.is_some_and(|record| record.token.is_some()),
            "{id} has no token"
        );
        *holds.entry(record.unwrap().holder.clone().unwrap()).or_insert(0) += 1;
    }
    prop_assert_eq!(&holds, &now.holds);
    for (id, record) in &now.records {
        prop_assert!(
            record.token.is_none() || now.leases.contains_key(id),
            "{id} has a token and no lease"
        );
    }
    Ok(())
}

/// I3: one completion per generation.
fn one_completion(known: &Known) -> Check {
    for (id, tokens) in &known.completed_by {
        prop_assert!(tokens.len() <= 1, "{id} completed by {tokens:?}");
    }
    Ok(())
}

/// I3: what has ended stays so, unless somebody wants it otherwise.
fn terminal_absorbs(before: &Snapshot, after: &Snapshot, step: &Step) -> Check {
    for id in before.hashes.keys().filter(|id| before.is_terminal(id)) {
        let same = after.status(id) == before.status(id);
        let wanted = matches!(step, Step::Retry(_) | Step::Reset(_) | Step::ForeignTake);
        // A foreign worker had written a status where no job was.
        let made = matches!(step, Step::Submit(_)) && !before.is_job(id);
        let forgotten = after.status(id).is_none() && matches!(step, Step::Tick | Step::TickAfterOutage);
        prop_assert!(
            same || wanted || made || forgotten || matches!(step, Step::DeleteHash(_)),
            "{id} was {:?} and is {:?}",
            before.status(id),
            after.status(id)
        );
    }
    Ok(())
}

/// A job is missing only where it waits nowhere and nobody has it; and no word of another program is written over.
fn sweep_spares_what_is_somewhere(before: &Snapshot, after: &Snapshot, step: &Step) -> Check {
    if !matches!(step, Step::Sweep { .. }) {
        return Ok(());
    }
    for id in before.hashes.keys() {
        let somewhere = before.waits(id) || before.leases.contains_key(id) || before.delayed.contains(id);
        let ours = before.status(id) == Some("submitted");
        prop_assert!(
            (ours && !somewhere) || after.status(id) == before.status(id),
            "{id} was {:?} and is {:?}",
            before.status(id),
            after.status(id)
        );
    }
    Ok(())
}

/// A record says truly whether there is a payload, and there is none without a job.
fn payloads_have_their_jobs(known: &Known, now: &Snapshot) -> Check {
    let said = now.records.iter().filter(|(_, record)| record.has_payload);
    let said: BTreeSet<_> = said.map(|(id, _)| id).collect();
    prop_assert_eq!(said, now.payloads.keys().collect::<BTreeSet<_>>());
    for id in now.payloads.keys() {
        prop_assert!(
            now.hashes.contains_key(id) || known.meddled.contains(id) || known.foreign.contains(id),
            "there is a payload of {id} and no job"
        );
    }
    Ok(())
}

/// What a complete job gave is what its completing token's bearer gave; others have given nothing.
fn results_are_of_their_runs(known: &Known, now: &Snapshot) -> Check {
    for (id, result) in &now.results {
        let by = now.records.get(id).and_then(|record| record.done.clone());
        prop_assert!(
            by.is_some_and(|by| result.starts_with(&format!("{by} "))),
            "{id} has a result that is not its token's: {result:.80}"
        );
    }
    for id in &now.long_results {
        prop_assert!(now.results.contains_key(id), "{id} has only the rest of a result");
    }
    for (id, record) in &now.records {
        if known.meddled.contains(id) || known.foreign.contains(id) {
            continue;
        }
        let complete = now.status(id) == Some("complete");
        prop_assert_eq!(complete, now.results.contains_key(id), "{}: {:?}", id, record);
    }
    Ok(())
}

/// Whoever mirrors a watched job is told of each change by ours, and of no other job.
fn changes_are_noted(before: &Snapshot, after: &Snapshot, step: &Step) -> Check {
    for id in &after.changed {
        let watched = |now: &Snapshot| now.records.get(id).is_some_and(|record| record.watched);
        prop_assert!(watched(before) || watched(after), "nobody watches {id}");
    }
    let ours = matches!(
        step,
        Step::Claim { .. }
            | Step::Renew(_)
            | Step::Report(_)
            | Step::Finish { .. }
            | Step::Turn { .. }
            | Step::GiveBack(_)
            | Step::Zombie { .. }
            | Step::Cancel(_)
            | Step::Retry(_)
            | Step::Tick
            | Step::TickAfterOutage
            | Step::Sweep { .. }
    );
    if !ours {
        return Ok(());
    }
    let seen = |now: &Snapshot, id: &String| {
        let record = now.records.get(id).cloned().unwrap_or_default();
        let counts = (record.attempts, record.failures, record.lost, record.progress);
        (
            now.status(id).map(str::to_owned),
            now.delayed.contains(id),
            counts,
        )
    };
    for (id, _) in before.records.iter().filter(|(_, record)| record.watched) {
        let same = seen(before, id) == seen(after, id) || !before.hashes.contains_key(id);
        prop_assert!(
            same || after.changed.contains(id),
            "{id} changed by {step:?}, and nobody is told"
        );
    }
    Ok(())
}

/// I5: attempts rise by a claim, failures by a finish, losses by a reap, and by nothing else.
fn chances_are_spent_by_runs_alone(before: &Snapshot, after: &Snapshot, step: &Step) -> Check {
    for (id, now) in &after.records {
        let was = before.records.get(id).cloned().unwrap_or_default();
        let claims = matches!(step, Step::Claim { .. } | Step::Turn { .. });
        let ends = matches!(
            step,
            Step::Finish { .. } | Step::Turn { .. } | Step::Zombie { .. }
        );
        let ticks = matches!(step, Step::Tick);
        prop_assert!(
            now.attempts <= was.attempts || claims,
            "{id} was tried by {step:?}"
        );
        prop_assert!(now.failures <= was.failures || ends, "{id} failed by {step:?}");
        prop_assert!(now.lost <= was.lost || ticks, "{id} lost its worker by {step:?}");
    }
    Ok(())
}

/// I8: what is told to the scaler is never less than what is to be done.
pub(crate) fn demand_is_not_hidden(known: &Known, now: &Snapshot, demand: u64) -> Check {
    // An item to be dropped that a foreign worker took hides another until the next tick.
    if now.cancelled.iter().any(|id| !now.waits(id)) {
        return Ok(());
    }
    let unfinished = known
        .acknowledged
        .iter()
        .filter(|id| now.hashes.contains_key(*id) && !now.is_terminal(id) && !known.foreign.contains(*id));
    let unfinished = unfinished.count() as u64;
    prop_assert!(
        demand >= unfinished,
        "{demand} told of {unfinished} unfinished: {now:#?}"
    );
    Ok(())
}
