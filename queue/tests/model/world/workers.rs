//! What workers do, and what they are answered.

use proptest::{prelude::TestCaseError, prop_assert, prop_assert_eq};
use queue::{Claimed, Claims, Consumer, Ended, Ending, Finish, JobId, JobResult, Nonce, Progress, Token};

use super::{Pair, World, name, payload};
use crate::{snapshot::Snapshot, steps::Says};

pub(super) struct Unanswered {
    nonce: Nonce,
    slots: usize,
    /// Whether it got anything: if not, nothing of it is remembered, and the same again is a new one.
    took: bool,
}

/// A worker, and what it believes to hold.
pub(super) struct Worker {
    pub(super) consumer: Consumer,
    pub(super) held: Vec<Pair>,
    /// A claim whose answer was lost, to be said again.
    pub(super) unanswered: Option<Unanswered>,
}

impl World {
    pub(super) async fn claim(
        &mut self,
        worker: usize,
        slots: usize,
        answer_lost: bool,
    ) -> Result<(), TestCaseError> {
        let asked = self.workers[worker].ask(slots);
        let claims = self.workers[worker]
            .consumer
            .claim(&asked.nonce, asked.slots)
            .await
            .unwrap();
        self.claimed(worker, asked, claims, answer_lost)
    }

    /// I2: no token is given twice for one job, but to a claim said again, which gets nothing else.
    fn claimed(
        &mut self,
        worker: usize,
        asked: Unanswered,
        claims: Claims,
        answer_lost: bool,
    ) -> Result<(), TestCaseError> {
        let worker = &mut self.workers[worker];
        let Unanswered { nonce, slots, took } = asked;
        prop_assert!(claims.jobs.len() <= slots);
        for claimed in &claims.jobs {
            self.known
                .payload_is_right(claimed, payload(claimed.job.id.as_str()))?;
        }
        let pairs = pairs(claims);
        for pair in &pairs {
            let name = pair.0.as_str();
            // A foreign worker writes over whatever there is.
            let unwanted = self.known.to_cancel.contains(name) && !self.known.foreign.contains(name);
            prop_assert!(took || !unwanted, "{pair:?} runs though it was to be cancelled");
            let given = self.given.contains(pair);
            prop_assert!(given == took, "{pair:?}: given {given}, asked again {took}");
        }
        self.given.extend(pairs.iter().cloned());
        if answer_lost {
            worker.unanswered = Some(Unanswered {
                nonce,
                slots,
                took: took || !pairs.is_empty(),
            });
            self.zombies.extend(pairs);
        } else {
            worker.held.extend(pairs);
        }
        Ok(())
    }

    pub(super) async fn renew(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        let renewal = worker.consumer.renew(&worker.held).await.unwrap();
        let lost = |pair: &Pair| renewal.lost.contains(&pair.0);
        self.zombies
            .extend(worker.held.iter().filter(|pair| lost(pair)).cloned());
        worker.held.retain(|pair| !lost(pair));
    }

    pub(super) async fn finish(
        &mut self,
        worker: usize,
        pair: Pair,
        how: &Ending,
        before: &Snapshot,
    ) -> Result<(), TestCaseError> {
        let ended = ended(&pair, how);
        let consumer = self.workers[worker].consumer.clone();
        let finish = consumer.finish(std::slice::from_ref(&ended)).await.unwrap()[0];
        self.finished(pair, finish, before)?;
        // The answer may be lost: said again, it is the same.
        let again = consumer.finish(&[ended]).await.unwrap()[0];
        prop_assert_eq!(again, said_again(finish));
        Ok(())
    }

    /// A job completes once, and by its bearer.
    fn finished(
        &mut self,
        (id, token): Pair,
        finish: Finish,
        before: &Snapshot,
    ) -> Result<(), TestCaseError> {
        let name = id.to_string();
        let record = before.records.get(&name).cloned().unwrap_or_default();
        let by = Some(token.to_string());
        // Said again it is no other completion, and may be of a former generation.
        if finish == Finish::Finished && record.done != by {
            let tokens = self.known.completed_by.entry(name).or_default();
            tokens.extend(by.clone());
        }
        if record.token != by && record.done != by && record.ended != by {
            prop_assert_eq!(finish, Finish::Stale);
        }
        self.zombies.push((id, token));
        Ok(())
    }

    /// What ends in it and what is taken in it is right as if there were two calls.
    pub(super) async fn turn(
        &mut self,
        (worker, which): (usize, usize),
        how: &Ending,
        slots: usize,
        answer_lost: bool,
        before: &Snapshot,
    ) -> Result<(), TestCaseError> {
        let Worker { consumer, held, .. } = &mut self.workers[worker];
        let Some(which) = which.checked_rem(held.len()) else {
            return Ok(());
        };
        let (consumer, pair) = (consumer.clone(), held[which].clone());
        if !answer_lost {
            held.remove(which);
        }
        let asked = self.workers[worker].ask(slots);
        let (nonce, slots, ended) = (asked.nonce.clone(), asked.slots, [ended(&pair, how)]);
        let (finish, claims) = consumer.turn(&ended, &nonce, slots).await.unwrap();
        let taken = pairs(claims.clone());
        prop_assert!(!taken.contains(&pair), "{pair:?} has ended and is given");
        let runs_again = taken.iter().any(|(id, _)| *id == pair.0);
        self.finished(pair, finish[0], before)?;
        self.claimed(worker, asked, claims, answer_lost)?;
        // If it got nothing, nothing of it is remembered, and the same again is a new one.
        if !taken.is_empty() {
            let (again, claims) = consumer.turn(&ended, &nonce, slots).await.unwrap();
            // An ending whose answer was lost is answered the same until the job runs again, which it may in this turn.
            let same = if runs_again {
                Finish::Stale
            } else {
                said_again(finish[0])
            };
            prop_assert_eq!(again[0], same);
            prop_assert_eq!(pairs(claims), taken);
        }
        Ok(())
    }

    /// I2: who bears another token than the current one changes nothing.
    pub(super) async fn zombie(
        &mut self,
        which: usize,
        says: &Says,
        before: &Snapshot,
    ) -> Result<(), TestCaseError> {
        let Some(which) = which.checked_rem(self.zombies.len()) else {
            return Ok(());
        };
        let pair = self.zombies[which].clone();
        let (name, token) = (pair.0.to_string(), Some(pair.1.to_string()));
        let current = before
            .records
            .get(&name)
            .is_some_and(|record| record.token == token);
        let consumer = self.workers[0].consumer.clone();
        match says {
            Says::Renew => {
                let renewal = consumer.renew(std::slice::from_ref(&pair)).await.unwrap();
                prop_assert!(current || renewal.lost == [pair.0]);
            }
            Says::Report => consumer.report(&reports(&[pair])).await.unwrap(),
            Says::Finish(how) => self.finish(0, pair, how, before).await?,
            Says::GiveBack => {
                let returned = consumer.give_back(&[pair]).await.unwrap();
                prop_assert!(current || returned == 0);
            }
        }
        if !current {
            prop_assert_eq!(before, &Snapshot::take(&mut self.raw));
        }
        Ok(())
    }
}

impl Worker {
    /// What its next claim is: the last one again, if its answer was lost.
    fn ask(&mut self, slots: usize) -> Unanswered {
        self.unanswered.take().unwrap_or_else(|| Unanswered {
            nonce: Nonce::fresh(),
            slots,
            took: false,
        })
    }
}

fn ended((id, token): &Pair, how: &Ending) -> Ended {
    let how = match how {
        Ending::Complete { .. } => Ending::Complete {
            result: Some(result(id.as_str(), token)),
        },
        how => how.clone(),
    };
    Ended {
        id: id.clone(),
        token: token.clone(),
        how,
    }
}

/// What is answered to an ending that is said again.
fn said_again(finish: Finish) -> Finish {
    match finish {
        Finish::Gone => Finish::Stale,
        finish => finish,
    }
}

fn pairs(claims: Claims) -> Vec<Pair> {
    let pair = |claimed: Claimed| (claimed.job.id, claimed.token);
    claims.jobs.into_iter().map(pair).collect()
}

/// What a run gives: it begins with its token, and one job's is too long for one field.
fn result(name: &str, token: &Token) -> JobResult {
    let length = if name == self::name(0) { 5_000 } else { 0 };
    JobResult::new("text/plain", format!("{token} {}", "x".repeat(length))).unwrap()
}

pub(super) fn reports(held: &[Pair]) -> Vec<(JobId, Token, Progress)> {
    let report = |(id, token): &Pair| {
        let progress = Progress {
            percent: Some(50),
            ..Progress::default()
        };
        (id.clone(), token.clone(), progress)
    };
    held.iter().map(report).collect()
}
