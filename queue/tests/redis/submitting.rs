use queue::{Error, JobId, NewJob, Status, item};

use crate::common::{Fixture, MAIN, submit_twins_and};

#[tokio::test]
async fn a_submitted_job_is_a_hash_of_four_fields_and_an_item_on_the_list() {
    let mut fixture = Fixture::new();
    let job = fixture
        .producer()
        .submit(NewJob::new("go!", "stop!"))
        .await
        .unwrap();

    assert_eq!(job.status, Status::Submitted);
    let expected = [
        ("end", "stop!"),
        ("id", job.id.as_str()),
        ("start", "go!"),
        ("status", "submitted"),
    ]
    .map(|(field, value)| (field.to_owned(), value.to_owned()));
    assert_eq!(fixture.hash(&job.id), expected);
    let items: Vec<Vec<u8>> = fixture.ask(&["LRANGE", MAIN, "0", "-1"]);
    assert_eq!(items, [item::write(&job.id)]);
}

#[tokio::test]
async fn the_jobs_database_holds_jobs_only() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    producer.check().await.unwrap();
    let job = producer.submit(NewJob::new("a", "b")).await.unwrap();

    let keys: Vec<String> = fixture.raw.on(3).ask(&["KEYS", "*"]);
    assert_eq!(keys, [format!("job.{}", job.id)]);
}

#[tokio::test]
async fn the_check_leaves_nothing_behind() {
    for mut fixture in [Fixture::new(), Fixture::new().on_one_database()] {
        fixture.producer().check().await.unwrap();
        fixture.assert_unchanged(&[], "it was checked");
    }
}

#[tokio::test]
async fn the_same_job_again_adds_nothing() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    let new = NewJob::new("a", "b");
    let first = producer.submit(new.clone()).await.unwrap();
    let again = producer.submit(new.clone()).await.unwrap();

    assert_eq!(first, again);
    assert_eq!(fixture.waiting(), [first.id]);
}

#[tokio::test]
async fn the_same_job_twice_in_one_batch_adds_one() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    let new = NewJob::new("a", "b");
    let other = NewJob {
        start: "c".to_owned(),
        ..new.clone()
    };
    submit_twins_and(&producer, &new, other).await;
    assert_eq!(fixture.waiting(), [new.id]);
}

#[tokio::test]
async fn an_id_with_other_contents_is_a_conflict_and_changes_nothing() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    let new = NewJob::new("a", "b");
    producer.submit(new.clone()).await.unwrap();
    let before = fixture.everything();

    let other = NewJob {
        end: "c".to_owned(),
        ..new.clone()
    };
    assert_eq!(
        producer.submit(other).await,
        Err(Error::Conflict(new.id.to_string()))
    );
    fixture.assert_unchanged(&before, "it was refused");
}

#[tokio::test]
async fn one_bad_job_of_a_batch_fails_alone() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    let (good, bad) = (NewJob::new("a", "b"), NewJob::new("c", "d"));
    fixture
        .raw
        .on(3)
        .ask::<()>(&["SET", &format!("job.{}", bad.id), "a text"]);

    let (first, second) = tokio::join!(producer.submit(bad), producer.submit(good));
    assert!(matches!(first, Err(Error::WrongType(_))), "{first:?}");
    assert_eq!(fixture.waiting(), [second.unwrap().id]);
}

#[tokio::test]
async fn ten_thousand_at_once_all_go_in() {
    let fixture = Fixture::new();
    let producer = fixture.producer();
    let submissions: Vec<_> = (0..10_000)
        .map(|i| {
            let producer = producer.clone();
            tokio::spawn(async move { producer.submit(NewJob::new(i.to_string(), "")).await })
        })
        .collect();
    for submission in submissions {
        submission.await.unwrap().unwrap();
    }
    assert_eq!(fixture.reading().await.waiting, 10_000);
}

#[tokio::test]
async fn a_job_is_found_by_its_id_whoever_submitted_it() {
    let mut fixture = Fixture::new();
    let producer = fixture.producer();
    let ours = producer.submit(NewJob::new("a", "b")).await.unwrap();
    fixture.raw.on(3).ask::<()>(&[
        "HSET",
        "job.theirs",
        "id",
        "theirs",
        "status",
        "new",
        "start",
        "1",
        "end",
        "2",
    ]);

    assert_eq!(producer.get(&ours.id).await.unwrap(), Some(ours));
    let theirs = producer
        .get(&JobId::new("theirs").unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (theirs.status, theirs.submitted_ms),
        (Status::Other("new".to_owned()), None)
    );
    assert_eq!(
        producer.get(&JobId::new("nobody's").unwrap()).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn jobs_are_listed_newest_first_page_by_page() {
    let mut fixture = Fixture::new();
    let mut ids = fixture.submit(25).await;
    ids.reverse();
    let producer = fixture.producer();
    // A page stays the same while newer jobs come and listed ones go.
    let mut listed = Vec::new();
    let mut cursor = None;
    loop {
        let page = producer.list(cursor.as_ref(), 10).await.unwrap();
        listed.extend(page.jobs.into_iter().map(|job| job.id));
        fixture.submit(1).await;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, ids);

    fixture.raw.on(3).ask::<()>(&["DEL", &format!("job.{}", ids[0])]);
    let all = producer.list(None, 1_000).await.unwrap();
    assert_eq!(all.jobs.len(), 25 + 3 - 1);
    assert!(matches!(producer.list(None, 0).await, Err(Error::Config(_))));
}

#[tokio::test]
async fn times_of_submission_rise_though_the_clock_may_not() {
    let mut fixture = Fixture::new();
    fixture.submit(1).await;
    // As if the clock had been put back by half a second since.
    let scores: Vec<String> = fixture.ask(&["ZRANGE", "workerpool:queue:index", "0", "0", "WITHSCORES"]);
    let ahead = scores[1].parse::<u64>().unwrap() + 500_000;
    fixture.ask::<()>(&["ZADD", "workerpool:queue:index", &ahead.to_string(), &scores[0]]);
    let second = fixture.submit(1).await.remove(0);

    let page = fixture.producer().list(None, 1).await.unwrap();
    assert_eq!(page.jobs[0].id, second);
}

#[tokio::test]
async fn both_databases_may_be_the_same() {
    let mut fixture = Fixture::new().on_one_database();
    let id = fixture.submit(1).await.remove(0);
    let worker = fixture.worker();
    let claimed = worker.claim_one().await;
    assert_eq!(claimed.job.id, id);
    worker.complete(&claimed.job.id, &claimed.token).await;
    assert_eq!(fixture.status(&id).as_deref(), Some("complete"));
}
