//! What foreign programs leave behind: parked with its reason, counted, and the worker goes on.

use queue::{JobId, item};

use crate::common::{Fixture, MAIN, ids};

const DEAD: &str = "workerpool:queue:dead";

/// Claims until the list is empty: the good job that stands behind is found, and `parked` items are dead.
async fn goes_on(fixture: &mut Fixture, parked: u64) -> Vec<String> {
    let good = fixture.submit(1).await.remove(0);
    assert_eq!(ids(&fixture.worker().claim(1_000).await), [good]);
    let reading = fixture.reading().await;
    assert_eq!((reading.dead, reading.counts.garbage), (parked, parked));
    assert_eq!((reading.waiting, reading.delayed), (0, 0));
    fixture.ask(&["ZRANGE", DEAD, "0", "-1"])
}

#[tokio::test]
async fn an_item_of_10_mb_is_parked_whole_with_a_short_reason() {
    let mut fixture = Fixture::new();
    let huge = vec![b'x'; 10_000_000];
    fixture.push(&huge);
    let dead = goes_on(&mut fixture, 1).await;
    assert!(dead[0].len() < 64, "{}", dead[0]);
    assert_eq!(fixture.record::<Vec<u8>>(&dead[0], "item").len(), huge.len());
    assert_eq!(fixture.record::<String>(&dead[0], "reason"), "not a job id");
    // Once: neither the history nor the error repeats it.
    let stored: u64 = fixture.ask(&["HSTRLEN", "workerpool:queue:records", &dead[0]]);
    assert!(stored < 10_001_000, "{stored} bytes");
}

#[tokio::test]
async fn ids_with_odd_bytes_are_parked_and_unusual_ones_run() {
    let mut fixture = Fixture::new();
    let odd: [&[u8]; 6] = [
        b"with\nnewline",
        b"with\0nul",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"",
        &[b'a'; 513],
    ];
    for item in odd {
        fixture.push(item);
    }
    goes_on(&mut fixture, 6).await;

    for text in ["émile 🦀", "a:b.c/d", &"y".repeat(512)] {
        let id = JobId::new(text).unwrap();
        fixture.reset(&id);
        assert_eq!(fixture.worker().claim_one().await.job.id, id);
    }
}

#[tokio::test]
async fn one_item_of_garbage_among_a_thousand_costs_the_others_nothing() {
    let mut fixture = Fixture::new();
    let mut expected = fixture.submit(5).await;
    for n in 0..990 {
        fixture.push(format!("S'odd {n}").as_bytes());
    }
    fixture.push(b"\x80\x05garbage");
    expected.extend(fixture.submit(4).await);
    let claims = fixture.worker().claim(1_000).await;
    // What looks like a bare id without a hash waits for its producer; only the pickle that is none is parked.
    assert_eq!(ids(&claims), expected);
    let reading = fixture.reading().await;
    assert_eq!((reading.dead, reading.delayed), (1, 990));
}

#[tokio::test]
async fn a_hash_of_another_type_parks_the_job_under_its_id_and_is_left_alone() {
    for command in [["SET", "text"], ["RPUSH", "list"], ["SADD", "set"]] {
        let mut fixture = Fixture::new();
        let id = JobId::new("odd").unwrap();
        fixture.raw.on(3).ask::<()>(&[command[0], "job.odd", command[1]]);
        fixture.push(&item::write(&id));
        assert_eq!(goes_on(&mut fixture, 1).await, ["odd"]);
        assert_eq!(
            fixture.record::<String>("odd", "reason"),
            "its hash is of another type"
        );
        assert_eq!(fixture.raw.on(3).ask::<u64>(&["EXISTS", "job.odd"]), 1);
        // Put right, it runs.
        fixture.raw.on(3).ask::<()>(&["DEL", "job.odd"]);
        fixture.reset(&id);
        assert_eq!(ids(&fixture.worker().claim(5).await), [id]);
        assert_eq!(fixture.reading().await.dead, 0);
    }
}

#[tokio::test]
async fn a_record_that_is_no_record_does_not_stop_its_job_or_the_queue() {
    for odd in [&b"\xc1"[..], b"", b"\xa3abc", b"\xcb"] {
        let mut fixture = Fixture::new();
        let id = fixture.submit(1).await.remove(0);
        let mut hset = redis::cmd("HSET");
        hset.arg("workerpool:queue:records").arg(id.as_str()).arg(odd);
        fixture.raw.on(2).command::<()>(&hset).unwrap();
        let worker = fixture.worker();
        let claimed = worker.claim_one().await;
        assert_eq!((&claimed.job.id, claimed.attempt), (&id, 1));
        assert_eq!(
            worker.complete(&id, &claimed.token).await,
            queue::Finish::Finished
        );
    }
}

#[tokio::test]
async fn a_cancelled_job_that_still_stands_on_the_list_is_no_demand_and_is_dropped() {
    let mut fixture = Fixture::new();
    let submitted = fixture.submit(3).await;
    fixture.mark_cancelled(&submitted[1]);
    let reading = fixture.reading().await;
    assert_eq!((reading.waiting, reading.ready()), (2, 2));

    let claims = fixture.worker().claim(5).await;
    assert_eq!(ids(&claims), [submitted[0].clone(), submitted[2].clone()]);
    assert_eq!(fixture.status(&submitted[1]).as_deref(), Some("cancelled"));
    assert_eq!(fixture.ask::<u64>(&["EXISTS", "workerpool:queue:cancelled"]), 0);
    assert_eq!(fixture.reading().await.counts.dropped_cancelled, 1);
}

#[tokio::test]
async fn a_cancelled_item_that_a_foreign_worker_took_hides_no_demand_for_long() {
    let mut fixture = Fixture::new();
    let submitted = fixture.submit(2).await;
    fixture.mark_cancelled(&submitted[0]);
    // As the original's worker does.
    fixture.ask::<()>(&["LPOP", MAIN]);
    let hash = format!("job.{}", submitted[0]);
    fixture
        .raw
        .on(3)
        .ask::<()>(&["HSET", &hash, "status", "in progress"]);
    assert_eq!(fixture.reading().await.waiting, 0);
    fixture.worker().consumer.tick().await.unwrap();
    assert_eq!(fixture.reading().await.waiting, 1);
}

#[tokio::test]
async fn on_an_empty_list_no_cancelled_item_is_left_to_be_dropped() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    fixture.mark_cancelled(&id);
    fixture.ask::<()>(&["DEL", MAIN]);
    fixture.worker().consumer.tick().await.unwrap();
    assert_eq!(fixture.ask::<u64>(&["EXISTS", "workerpool:queue:cancelled"]), 0);
}

#[tokio::test]
async fn a_cancelled_job_that_somebody_resets_runs_though_its_item_was_to_be_dropped() {
    let mut fixture = Fixture::new();
    let id = fixture.submit(1).await.remove(0);
    fixture.mark_cancelled(&id);
    fixture.reset(&id);
    assert_eq!(ids(&fixture.worker().claim(5).await), [id]);
    assert_eq!(fixture.ask::<u64>(&["LLEN", MAIN]), 0);
    assert_eq!(fixture.ask::<u64>(&["EXISTS", "workerpool:queue:cancelled"]), 0);
}
