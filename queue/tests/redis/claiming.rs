use std::time::Duration;

use queue::{Error, JobId, Nonce, Status, Wake, item};

use crate::common::{Fixture, MAIN, eventually, ids, pair};

const ARRIVALS: &str = "workerpool:queue:arrivals";

#[tokio::test]
async fn a_claimed_job_is_in_progress_with_five_fields_and_leased() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let claimed = fixture.worker().claim_one().await;

    assert_eq!((claimed.job.status, claimed.attempt), (Status::InProgress, 1));
    assert_eq!(claimed.job.start, "start 0");
    let fields: Vec<_> = fixture.hash(&id).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["end", "id", "start", "status", "worker"]);
    assert_eq!(fixture.status(&id).as_deref(), Some("in progress"));
    let reading = fixture.reading().await;
    assert_eq!((reading.waiting, reading.arrivals, reading.running), (0, 0, 1));
}

#[tokio::test]
async fn fields_that_a_foreign_program_added_are_kept() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    fixture
        .raw
        .on(3)
        .ask::<()>(&["HSET", &format!("job.{id}"), "colour", "blue"]);
    let worker = fixture.worker();
    let claimed = worker.claim_one().await;
    worker.consumer.give_back(&[pair(&claimed)]).await.unwrap();
    let claimed = worker.claim_one().await;
    worker.complete(&claimed.job.id, &claimed.token).await;

    assert!(
        fixture
            .hash(&id)
            .contains(&("colour".to_owned(), "blue".to_owned()))
    );
}

#[tokio::test]
async fn arrivals_are_claimed_before_the_list() {
    let mut fixture = Fixture::new();
    let submitted = fixture.submit(3).await;
    let worker = fixture.worker();
    assert_eq!(
        worker.consumer.wake(Duration::from_secs(1)).await.unwrap(),
        Wake::Arrived
    );
    // Something newer at the head of the list.
    let newer = fixture.submit(1).await.remove(0);
    fixture.ask::<()>(&["LMOVE", MAIN, MAIN, "RIGHT", "LEFT"]);

    assert_eq!(ids(&worker.claim(2).await), [submitted[0].clone(), newer]);
}

#[tokio::test]
async fn a_claim_takes_no_more_than_there_are_slots() {
    let fixture = Fixture::new();
    let submitted = fixture.submit(5).await;
    let worker = fixture.worker();
    let claims = worker.claim(3).await;
    assert_eq!((ids(&claims), claims.remaining), (submitted[..3].to_vec(), 2));
    let claims = worker.claim(0).await;
    assert_eq!(claims.jobs, []);
    assert_eq!(ids(&worker.claim(10).await), submitted[3..]);
}

#[tokio::test]
async fn the_same_claim_again_answers_the_same_and_takes_nothing() {
    let fixture = Fixture::new();
    fixture.submit(5).await;
    let worker = fixture.worker();
    let nonce = Nonce::fresh();
    let first = worker.consumer.claim(&nonce, 2).await.unwrap();
    let again = worker.consumer.claim(&nonce, 2).await.unwrap();

    assert_eq!(first.jobs, again.jobs);
    let reading = fixture.reading().await;
    assert_eq!((reading.waiting, reading.running), (3, 2));
}

#[tokio::test]
async fn a_claim_repeated_late_answers_only_what_is_still_held() {
    let fixture = Fixture::new();
    fixture.submit(2).await;
    let worker = fixture.worker();
    let nonce = Nonce::fresh();
    let first = worker.consumer.claim(&nonce, 2).await.unwrap();
    worker.complete(&first.jobs[0].job.id, &first.jobs[0].token).await;

    let again = worker.consumer.claim(&nonce, 2).await.unwrap();
    assert_eq!(again.jobs, first.jobs[1..]);
}

#[tokio::test]
async fn two_workers_never_get_the_same_job_or_token() {
    let fixture = Fixture::new();
    fixture.submit(10).await;
    let (one, other) = (fixture.worker(), fixture.worker());
    let (one, other) = tokio::join!(one.claim(10), other.claim(10));
    assert_eq!(one.jobs.len() + other.jobs.len(), 10);
    for claimed in &one.jobs {
        assert!(
            other
                .jobs
                .iter()
                .all(|job| job.job.id != claimed.job.id && job.token != claimed.token)
        );
    }
}

#[tokio::test]
async fn a_second_item_of_a_leased_job_is_dropped() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let worker = fixture.worker();
    let claimed = worker.claim_one().await;
    fixture
        .raw
        .on(2)
        .command::<()>(redis::cmd("RPUSH").arg(MAIN).arg(item::write(&id)))
        .unwrap();

    assert_eq!(fixture.worker().claim(5).await.jobs, []);
    let reading = fixture.reading().await;
    assert_eq!((reading.waiting, reading.running), (0, 1));
    let dropped: u64 = fixture.ask(&["HGET", "workerpool:queue:counts", "duplicates"]);
    assert_eq!(dropped, 1);
    // The first holder is untouched.
    let renewal = worker.consumer.renew(&[pair(&claimed)]).await.unwrap();
    assert_eq!(renewal.lost, []);
}

#[tokio::test]
async fn two_items_of_one_job_in_one_claim_give_it_once() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    fixture
        .raw
        .on(2)
        .command::<()>(redis::cmd("RPUSH").arg(MAIN).arg(item::write(&id)))
        .unwrap();
    assert_eq!(ids(&fixture.worker().claim(5).await), [id]);
}

#[tokio::test]
async fn items_of_finished_and_cancelled_jobs_are_dropped() {
    let mut fixture = Fixture::new();
    for status in ["complete", "failed", "cancelled"] {
        let id = fixture.submit(1).await.remove(0);
        fixture
            .raw
            .on(3)
            .ask::<()>(&["HSET", &format!("job.{id}"), "status", status]);
        assert_eq!(fixture.worker().claim(5).await.jobs, []);
        assert_eq!(fixture.status(&id).as_deref(), Some(status));
    }
    assert_eq!(fixture.reading().await.waiting, 0);
}

#[tokio::test]
async fn a_finished_job_that_somebody_resets_runs_again_as_new() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let worker = fixture.worker();
    let first = worker.claim_one().await;
    worker.complete(&first.job.id, &first.token).await;

    fixture
        .raw
        .on(3)
        .ask::<()>(&["HSET", &format!("job.{id}"), "status", "submitted"]);
    fixture
        .raw
        .on(2)
        .command::<()>(redis::cmd("RPUSH").arg(MAIN).arg(item::write(&id)))
        .unwrap();
    let second = worker.claim_one().await;
    assert_eq!((second.job.id, second.attempt), (id, 1));
    assert_ne!(second.token, first.token);
}

#[tokio::test]
async fn an_item_that_is_no_job_goes_to_the_dead_with_its_reason() {
    let mut fixture = Fixture::new();
    let garbage: &[u8] = b"\x80\x04K\x01.";
    fixture
        .raw
        .on(2)
        .command::<()>(redis::cmd("RPUSH").arg(MAIN).arg(garbage))
        .unwrap();
    let good = fixture.submit(1).await.remove(0);

    assert_eq!(ids(&fixture.worker().claim(5).await), [good]);
    assert_eq!(fixture.reading().await.dead, 1);
    let dead: Vec<String> = fixture.ask(&["ZRANGE", "workerpool:queue:dead", "0", "-1"]);
    assert_eq!(fixture.record::<Vec<u8>>(&dead[0], "item"), garbage);
    assert_eq!(fixture.record::<String>(&dead[0], "reason"), "not a job id");
}

#[tokio::test]
async fn a_job_whose_hash_is_of_another_type_goes_to_the_dead_and_keeps_it() {
    let mut fixture = Fixture::new();
    let id = JobId::new("odd").unwrap();
    fixture.raw.on(3).ask::<()>(&["SET", "job.odd", "a text"]);
    fixture
        .raw
        .on(2)
        .command::<()>(redis::cmd("RPUSH").arg(MAIN).arg(item::write(&id)))
        .unwrap();

    assert_eq!(fixture.worker().claim(5).await.jobs, []);
    assert_eq!(fixture.reading().await.dead, 1);
    assert_eq!(fixture.raw.on(3).ask::<String>(&["GET", "job.odd"]), "a text");
}

#[tokio::test]
async fn an_id_without_a_hash_waits_for_its_producer() {
    let mut fixture = Fixture::new();
    let id = JobId::new("early").unwrap();
    fixture
        .raw
        .on(2)
        .command::<()>(redis::cmd("RPUSH").arg(MAIN).arg(item::write(&id)))
        .unwrap();
    let worker = fixture.worker();
    worker.consumer.tick().await.unwrap();

    assert_eq!(worker.claim(5).await.jobs, []);
    let reading = fixture.reading().await;
    assert_eq!((reading.delayed, reading.dead), (1, 0));
    assert!(reading.next_due_ms.unwrap() <= reading.server_time_ms + 1_000);

    fixture
        .raw
        .on(3)
        .ask::<()>(&["HSET", "job.early", "id", "early", "status", "submitted"]);
    let found = eventually("the job is claimed", || async {
        worker.consumer.tick().await.unwrap();
        worker.claim(5).await.jobs.pop()
    })
    .await;
    assert_eq!((found.job.id, found.attempt), (id, 1));
    assert_eq!(fixture.reading().await.delayed, 0);
}

#[tokio::test]
async fn an_id_that_stays_without_a_hash_goes_to_the_dead_after_three_tries() {
    let mut fixture = Fixture::new();
    let id = JobId::new("nobody's").unwrap();
    fixture
        .raw
        .on(2)
        .command::<()>(redis::cmd("RPUSH").arg(MAIN).arg(item::write(&id)))
        .unwrap();
    let worker = fixture.worker();
    eventually("it is dead", || async {
        worker.consumer.tick().await.unwrap();
        assert_eq!(worker.claim(5).await.jobs, []);
        let reading = fixture.reading().await;
        (reading.dead == 1).then_some(())
    })
    .await;
    assert_eq!(fixture.record::<String>("nobody's", "reason"), "no hash");
    assert_eq!(
        fixture.raw.on(3).ask::<Vec<String>>(&["KEYS", "*"]),
        Vec::<String>::new()
    );

    // The producer comes after all, and pushes again.
    fixture
        .raw
        .on(3)
        .ask::<()>(&["HSET", "job.nobody's", "id", "nobody's", "status", "submitted"]);
    fixture
        .raw
        .on(2)
        .command::<()>(redis::cmd("RPUSH").arg(MAIN).arg(item::write(&id)))
        .unwrap();
    assert_eq!(ids(&worker.claim(5).await), [id]);
    assert_eq!(fixture.reading().await.dead, 0);
}

#[tokio::test]
async fn a_wake_up_takes_nothing_for_itself() {
    let mut fixture = Fixture::new();
    let sleeper = fixture.worker();
    let asleep = tokio::spawn(async move { sleeper.consumer.wake(Duration::from_secs(2)).await });
    eventually("it blocks", || {
        let blocked: String = fixture.raw.ask(&["INFO", "clients"]);
        async move { blocked.contains("blocked_clients:1").then_some(()) }
    })
    .await;
    let id = fixture.submit(1).await.remove(0);
    assert_eq!(asleep.await.unwrap().unwrap(), Wake::Arrived);

    // Whoever comes first claims it.
    assert_eq!(fixture.ask::<u64>(&["LLEN", ARRIVALS]), 1);
    assert_eq!(ids(&fixture.worker().claim(1).await), [id]);
}

#[tokio::test]
async fn a_wake_up_ends_by_itself() {
    let fixture = Fixture::new();
    let woken = fixture.worker().consumer.wake(Duration::from_millis(50)).await;
    assert_eq!(woken.unwrap(), Wake::TimedOut);
}

#[tokio::test]
async fn what_a_worker_passes_on_wakes_another_that_waits_and_keeps_its_place() {
    let mut fixture = Fixture::new();
    let first = fixture.submit(3).await;
    let busy = fixture.worker();
    for _ in 0..2 {
        busy.consumer.wake(Duration::from_secs(1)).await.unwrap();
    }
    assert_eq!(fixture.ask::<u64>(&["LLEN", ARRIVALS]), 2);
    busy.consumer.pass_on().await.unwrap();
    assert_eq!(fixture.ask::<u64>(&["LLEN", ARRIVALS]), 1);
    let idle = fixture.worker();
    assert_eq!(
        idle.consumer.wake(Duration::from_secs(1)).await.unwrap(),
        Wake::Arrived
    );
    assert_eq!(ids(&idle.claim(3).await), first);

    let asleep = {
        let idle = idle.consumer.clone();
        tokio::spawn(async move { idle.wake(Duration::from_secs(2)).await })
    };
    // What was woken by it hands it on while the other waits.
    let id = JobId::fresh();
    fixture.ask::<()>(&["RPUSH", ARRIVALS, id.as_str()]);
    eventually("it blocks", || {
        let blocked: String = fixture.raw.ask(&["INFO", "clients"]);
        async move { blocked.contains("blocked_clients:1").then_some(()) }
    })
    .await;
    busy.consumer.pass_on().await.unwrap();
    assert_eq!(asleep.await.unwrap().unwrap(), Wake::Arrived);
}

#[tokio::test]
async fn passing_on_what_somebody_has_claimed_meanwhile_is_nothing() {
    let mut fixture = Fixture::new();
    let worker = fixture.worker();
    worker.consumer.pass_on().await.unwrap();
    assert_eq!(fixture.ask::<u64>(&["EXISTS", MAIN, ARRIVALS]), 0);
}

#[tokio::test]
async fn what_a_full_server_does_not_let_pass_stays_for_the_next_claim() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    let worker = fixture.worker();
    worker.consumer.wake(Duration::from_secs(1)).await.unwrap();
    fixture
        .raw
        .ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    fixture.raw.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = worker.consumer.pass_on().await;
    assert!(matches!(refused, Err(Error::OutOfMemory(_))), "{refused:?}");
    assert_eq!(fixture.ask::<u64>(&["LLEN", ARRIVALS]), 1);
    fixture.raw.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(ids(&worker.claim(1).await), [id]);
}
