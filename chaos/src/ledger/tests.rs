use super::*;
use crate::history::tests::history;

fn submitted(id: &str) -> Vec<&str> {
    // Shorter than an id, so that each job has a request of its own.
    let request = &id[..1];
    vec![
        "HSET",
        id,
        "id",
        "x",
        "status",
        "submitted",
        "start",
        "x",
        "end",
        request,
    ]
}

fn ledger(acknowledged: &[&str], commands: &[&[&str]]) -> Ledger {
    Ledger {
        acknowledged: acknowledged.iter().map(|&id| (id.to_owned(), 200)).collect(),
        history: history(commands),
        undone: history(&[]),
        executions: HashMap::new(),
        cancelled: HashMap::new(),
        crashes: Vec::new(),
        told: HashMap::new(),
    }
}

const COMPLETE_A: &[&str] = &["HSET", "job.a", "status", "complete"];
const BEGIN: &[&str] = &["MULTI"];
const END: &[&str] = &["EXEC"];

#[test]
fn job_that_nobody_completed_is_lost() {
    let ledger = ledger(&["a", "b"], &[&["SELECT", "3"], &submitted("job.b"), COMPLETE_A]);
    let counts = ledger.counts();
    assert_eq!(counts.completed, 1);
    assert_eq!(
        counts.lost,
        [Lost {
            id: "b".into(),
            status: "submitted".into()
        }]
    );
}

#[test]
fn job_of_which_redis_has_nothing_is_lost() {
    assert_eq!(
        ledger(&["a"], &[]).counts().lost,
        [Lost {
            id: "a".into(),
            status: String::new()
        }]
    );
}

#[test]
fn job_that_redis_itself_lost_is_counted_apart() {
    let mut ledger = ledger(&["a"], &[]);
    ledger.undone = history(&[&["SELECT", "3"], &submitted("job.a")]);
    let counts = ledger.counts();
    assert_eq!((counts.lost_by_redis, counts.lost.len()), (1, 0));
}

#[test]
fn job_without_a_trace_is_excused_only_shortly_before_a_crash_of_a_redis_that_does_not_always_force() {
    let mut ledger = ledger(&["a"], &[]);
    for (crash, lost) in [(100, 0), (300, 0), (3_000, 1), (50, 1)] {
        ledger.crashes = vec![crash];
        assert_eq!(
            ledger.counts().lost.len(),
            lost,
            "acknowledged at 200, crash at {crash}"
        );
    }
    ledger.history = history(&[&["SELECT", "3"], BEGIN, &submitted("job.a"), END]);
    ledger.crashes = vec![300];
    assert_eq!(ledger.counts().lost.len(), 1, "it was written, and nobody did it");
}

#[test]
fn job_whose_foreign_producer_wrote_its_hash_is_lost_by_redis_only_if_that_lost_the_item() {
    let made = submitted("job.a");
    let pushed: &[&str] = &["RPUSH", "hotqueue:queue", "a"];
    let mut ledger = ledger(&["a"], &[&["SELECT", "3"], &made]);
    assert_eq!(ledger.counts().lost.len(), 1);
    ledger.undone = history(&[&["SELECT", "2"], pushed]);
    assert_eq!(ledger.counts().lost_by_redis, 1);
    ledger.history = history(&[&["SELECT", "3"], BEGIN, &made, &["SET", "x", "1"], END]);
    assert_eq!(ledger.counts().lost.len(), 1, "ours write both or none");
}

#[test]
fn completion_that_redis_lost_does_not_excuse_the_loss_of_its_job() {
    let mut ledger = ledger(&["a"], &[&["SELECT", "3"], &submitted("job.a")]);
    ledger.undone = history(&[&["SELECT", "3"], COMPLETE_A]);
    assert_eq!(ledger.counts().lost.len(), 1);
}

#[test]
fn job_completed_twice_is_found_whether_acknowledged_or_not() {
    let twice = [&["SELECT", "3"], BEGIN, COMPLETE_A, END, BEGIN, COMPLETE_A, END];
    assert_eq!(ledger(&[], &twice).counts().completed_twice, ["a"]);
}

#[test]
fn write_that_a_foreign_client_repeats_is_one_completion_but_two_executions_are_two() {
    let mut ledger = ledger(&["a"], &[&["SELECT", "3"], COMPLETE_A, COMPLETE_A]);
    let done = Execution {
        began_ms: 0,
        ended: Some((End::Done, 1)),
        foreign: true,
    };
    ledger.executions.insert("a".to_owned(), vec![done.clone()]);
    assert_eq!(ledger.counts().completed_twice, [""; 0]);
    ledger.executions.insert("a".to_owned(), vec![done.clone(), done]);
    assert_eq!(ledger.counts().completed_twice, ["a"]);
    let taken: &[&[&str]] = &[
        &["SELECT", "2"],
        &["RPUSH", "hotqueue:queue", "a"],
        &["LPOP", "hotqueue:queue"],
    ];
    ledger.undone = history(taken);
    let counts = ledger.counts();
    assert_eq!((counts.completed_twice.len(), counts.foreign_twice), (0, 1));
}

#[test]
fn job_that_a_foreign_worker_and_ours_completed_is_found() {
    let both = [&["SELECT", "3"], BEGIN, COMPLETE_A, END, COMPLETE_A];
    let mut ledger = ledger(&["a"], &both);
    for foreign in [false, true] {
        let ended = Some((End::Done, 1));
        let execution = Execution {
            began_ms: 0,
            ended,
            foreign,
        };
        ledger
            .executions
            .entry("a".to_owned())
            .or_default()
            .push(execution);
    }
    assert_eq!(ledger.counts().completed_twice, ["a"]);
}

#[test]
fn two_workers_told_of_one_completion_are_found_unless_redis_lost_the_first() {
    let mut ledger = ledger(&["a"], &[&["SELECT", "3"], COMPLETE_A]);
    ledger.told.insert("a".to_owned(), 2);
    assert_eq!(ledger.counts().told_twice, ["a"]);
    ledger.undone = history(&[&["SELECT", "3"], BEGIN, COMPLETE_A, END]);
    assert_eq!(ledger.counts().told_twice, [""; 0]);
}

#[test]
fn dead_and_cancelled_jobs_are_not_lost() {
    let failed: &[&str] = &["HSET", "job.a", "status", "failed"];
    let cancelled: &[&str] = &["HSET", "job.b", "status", "cancelled"];
    let counts = ledger(&["a", "b"], &[&["SELECT", "3"], failed, cancelled]).counts();
    assert_eq!((counts.dead, counts.cancelled, counts.lost.len()), (1, 1, 0));
}

#[test]
fn dead_job_whose_work_would_have_succeeded_is_counted_apart() {
    let poison: &[&str] = &["HSET", "job.a", "start", "poison", "end", "1", "status", "failed"];
    let sleep: &[&str] = &[
        "HSET", "job.b", "start", "sleep 5", "end", "2", "status", "failed",
    ];
    let counts = ledger(&["a", "b"], &[&["SELECT", "3"], poison, sleep]).counts();
    assert_eq!((counts.dead, counts.dead_by_faults), (2, 1));
}

#[test]
fn job_that_was_run_to_its_end_after_its_cancellation_is_found_unless_a_foreign_worker_ran_it() {
    let mut ledger = ledger(&["a"], &[&["SELECT", "3"], COMPLETE_A]);
    ledger.cancelled.insert("a".to_owned(), 200);
    let execution = |foreign| Execution {
        began_ms: 0,
        ended: Some((End::Done, 1)),
        foreign,
    };
    ledger.executions.insert("a".to_owned(), vec![execution(false)]);
    assert_eq!(ledger.counts().not_cancelled, ["a"]);
    ledger.executions.insert("a".to_owned(), vec![execution(true)]);
    assert_eq!(ledger.counts().not_cancelled, [""; 0]);
}

#[test]
fn job_that_a_foreign_worker_took_is_counted_apart() {
    let commands: &[&[&str]] = &[
        &["SELECT", "3"],
        &submitted("job.a"),
        &["SELECT", "2"],
        &["RPUSH", "hotqueue:queue", "a"],
        &["LPOP", "hotqueue:queue"],
    ];
    let counts = ledger(&["a"], commands).counts();
    assert_eq!((counts.foreign_taken, counts.lost.len()), (1, 0));
}

#[test]
fn request_with_two_jobs_is_found() {
    let first: &[&str] = &["HSET", "job.a", "status", "submitted", "end", "request"];
    let second: &[&str] = &["HSET", "job.b", "status", "submitted", "end", "request"];
    let counts = ledger(&[], &[&["SELECT", "3"], first, second]).counts();
    assert_eq!(counts.doubled_requests, ["request"]);
    let gone: &[&str] = &["DEL", "job.b"];
    let counts = ledger(&[], &[&["SELECT", "3"], first, second, gone]).counts();
    assert_eq!(counts.doubled_requests, [""; 0]);
}

#[test]
fn executions_are_counted_and_explained() {
    let mut ledger = ledger(&["a"], &[]);
    let file = "start 0 a 1 7 100 0\nstart 1 b 1 7 100 0\nshutdown 1 b 1 7 150 0\nstart 2 b 2 7 160 0\ndone 2 b 2 7 170 0\nsta";
    for (job, execution) in executions(file, false) {
        ledger.executions.entry(job).or_default().push(execution);
    }
    for (job, execution) in executions("start 0 a 2 8 300 0\ndone 0 a 2 8 400 0\n", false) {
        ledger.executions.entry(job).or_default().push(execution);
    }
    let counts = ledger.counts();
    assert_eq!((counts.executions, counts.executed), ((4, 2), 2));
    assert_eq!(counts.cut_and_rerun, 1);
    assert_eq!(
        counts.again,
        BTreeMap::from([(Again::Cut, 1), (Again::After(End::Shutdown), 1)])
    );
    assert_eq!(
        counts.stall,
        Duration::from_millis(200),
        "from 200, when a was there, to its end at 400"
    );
}
