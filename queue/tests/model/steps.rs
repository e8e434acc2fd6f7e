//! What can happen next. Jobs and workers are named by small numbers.

use std::time::Duration;

use proptest::prelude::*;
use queue::Ending;

/// So few jobs that steps meet.
pub(crate) const JOBS: usize = 4;
pub(crate) const WORKERS: usize = 3;

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Submit(usize),
    /// A foreign producer pushes the job's item (once more), in one of its shapes.
    Push(usize, Shape),
    /// And something that is no job.
    PushGarbage,
    /// A wake-up moves the head of the list into arrivals.
    Wake,
    /// A worker that was woken has no slot.
    PassOn(usize),
    /// After a claim whose answer was lost, the same one again.
    Claim {
        worker: usize,
        slots: usize,
        answer_lost: bool,
    },
    Renew(usize),
    Report(usize),
    Finish {
        worker: usize,
        which: usize,
        how: Ending,
        answer_lost: bool,
    },
    /// A worker says how a job ended and claims, in one call.
    Turn {
        worker: usize,
        which: usize,
        how: Ending,
        slots: usize,
        answer_lost: bool,
    },
    GiveBack(usize),
    /// The process dies; what it knew may still come from a zombie.
    Crash(usize),
    /// One who was thought dead comes back and says one more thing.
    Zombie {
        which: usize,
        says: Says,
    },
    Cancel(usize),
    /// A waiting job is cancelled that stands too deep to be found.
    CancelDeep(usize),
    Retry(usize),
    /// So much time passes that this lease ends.
    LeaseEnds(usize),
    /// ... that everything delayed is due.
    AllIsDue,
    /// ... that everything that ended is old enough to be forgotten.
    AllIsOld,
    Tick,
    /// A tick after an hour without.
    TickAfterOutage,
    /// A foreign program deletes the job's hash.
    DeleteHash(usize),
    /// A foreign program sets the job to submitted and pushes it.
    Reset(usize),
    /// A foreign worker takes the head of the list.
    ForeignTake,
    /// And completes this job, if it has it.
    ForeignFinish(usize),
    /// Or ends it with a word of its own.
    ForeignWord(usize),
    /// A foreign program deletes the list.
    EmptyList,
    /// A sweep; `late`: what it saw before was long ago.
    Sweep {
        late: bool,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Ours,
    Python2,
    Bare,
}

#[derive(Debug, Clone)]
pub(crate) enum Says {
    Renew,
    Report,
    Finish(Ending),
    GiveBack,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let job = || 0..JOBS;
    let worker = || 0..WORKERS;
    let claim = (worker(), 1..4_usize, prop::bool::weighted(0.2)).prop_map(|(worker, slots, answer_lost)| {
        Step::Claim {
            worker,
            slots,
            answer_lost,
        }
    });
    let finish = (worker(), 0..4_usize, ending(), prop::bool::weighted(0.2)).prop_map(
        |(worker, which, how, answer_lost)| Step::Finish {
            worker,
            which,
            how,
            answer_lost,
        },
    );
    let turn = (
        worker(),
        0..4_usize,
        ending(),
        1..4_usize,
        prop::bool::weighted(0.2),
    )
        .prop_map(|(worker, which, how, slots, answer_lost)| Step::Turn {
            worker,
            which,
            how,
            slots,
            answer_lost,
        });
    let zombie = (0..8_usize, says()).prop_map(|(which, says)| Step::Zombie { which, says });
    prop_oneof![
        6 => job().prop_map(Step::Submit),
        2 => (job(), shape()).prop_map(|(job, shape)| Step::Push(job, shape)),
        1 => Just(Step::PushGarbage),
        2 => Just(Step::Wake),
        1 => worker().prop_map(Step::PassOn),
        8 => claim,
        2 => worker().prop_map(Step::Renew),
        2 => worker().prop_map(Step::Report),
        8 => finish,
        8 => turn,
        2 => worker().prop_map(Step::GiveBack),
        2 => worker().prop_map(Step::Crash),
        4 => zombie,
        3 => job().prop_map(Step::Cancel),
        1 => job().prop_map(Step::CancelDeep),
        2 => job().prop_map(Step::Retry),
        4 => job().prop_map(Step::LeaseEnds),
        3 => Just(Step::AllIsDue),
        1 => Just(Step::AllIsOld),
        5 => Just(Step::Tick),
        2 => Just(Step::TickAfterOutage),
        2 => job().prop_map(Step::DeleteHash),
        1 => job().prop_map(Step::Reset),
        2 => Just(Step::ForeignTake),
        2 => job().prop_map(Step::ForeignFinish),
        1 => job().prop_map(Step::ForeignWord),
        1 => Just(Step::EmptyList),
        3 => prop::bool::ANY.prop_map(|late| Step::Sweep { late }),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![Just(Shape::Ours), Just(Shape::Python2), Just(Shape::Bare)]
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![
        Just(Says::Renew),
        ending().prop_map(Says::Finish),
        Just(Says::Report),
        Just(Says::GiveBack)
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    let failed = Ending::Failed {
        error: "it failed".to_owned(),
    };
    let timed_out = Ending::TimedOut {
        error: "it took too long".to_owned(),
    };
    let later = Ending::Later {
        after: Duration::from_secs(60),
    };
    prop_oneof![
        4 => Just(Ending::Complete { result: None }),
        3 => Just(failed),
        1 => Just(timed_out),
        1 => Just(Ending::Cancelled),
        1 => Just(later),
    ]
}
