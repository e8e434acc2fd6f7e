use std::time::Duration;

use queue::{Error, Mark};

use crate::common::{Fixture, eventually, ids, pair};

const MINUTE: Duration = Duration::from_secs(60);

fn pods(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn a_quiet_pod_claims_nothing_until_it_is_unquiet() {
    let fixture = Fixture::new();
    let (drainer, worker) = (fixture.drainer(), fixture.worker_in_pod("pod-1"));
    assert_eq!(
        drainer
            .quiet(&fixture.queue, &pods(&["pod-1"]), 1, MINUTE)
            .await
            .unwrap(),
        ["pod-1"]
    );
    let submitted = fixture.submit(1).await;

    let claims = worker.claim(1).await;
    assert_eq!((claims.jobs.len(), claims.remaining), (0, 1));
    assert!(claims.quiet_for.unwrap() > Duration::from_secs(50));
    // Others do.
    assert_eq!(ids(&fixture.worker_in_pod("pod-2").claim(1).await), submitted);

    let submitted = fixture.submit(1).await;
    drainer
        .unquiet(&fixture.queue, &pods(&["pod-1"]), 1)
        .await
        .unwrap();
    let claims = worker.claim(1).await;
    assert_eq!((ids(&claims), claims.quiet_for), (submitted, None));
}

#[tokio::test]
async fn a_pod_that_holds_a_job_cannot_be_made_quiet() {
    let fixture = Fixture::new();
    fixture.submit(2).await;
    let drainer = fixture.drainer();
    let busy = fixture.worker_in_pod("busy");
    let claimed = busy.claim_one().await;

    let granted = drainer
        .quiet(&fixture.queue, &pods(&["busy", "idle"]), 1, MINUTE)
        .await
        .unwrap();
    assert_eq!(granted, ["idle"]);
    assert_eq!(busy.claim(1).await.jobs.len(), 1);
    busy.complete(&claimed.job.id, &claimed.token).await;
    assert_eq!(
        drainer
            .quiet(&fixture.queue, &pods(&["busy"]), 1, MINUTE)
            .await
            .unwrap(),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn what_a_pod_holds_is_what_all_of_its_workers_hold() {
    let fixture = Fixture::new();
    fixture.submit(1).await;
    let (busy, idle) = (fixture.worker_in_pod("pod-1"), fixture.worker_in_pod("pod-1"));
    busy.consumer.beat().await.unwrap();
    idle.consumer.beat().await.unwrap();
    let claimed = busy.claim_one().await;
    let drainer = fixture.drainer();

    assert_eq!(
        drainer
            .quiet(&fixture.queue, &pods(&["pod-1"]), 1, MINUTE)
            .await
            .unwrap(),
        Vec::<String>::new()
    );
    let held: Vec<_> = drainer
        .workers(&fixture.queue)
        .await
        .unwrap()
        .iter()
        .map(|worker| worker.held)
        .collect();
    assert_eq!(held, [1, 1]);
    busy.complete(&claimed.job.id, &claimed.token).await;
    assert_eq!(
        drainer
            .quiet(&fixture.queue, &pods(&["pod-1"]), 1, MINUTE)
            .await
            .unwrap(),
        ["pod-1"]
    );
}

#[tokio::test]
async fn a_draining_pod_keeps_what_it_has_and_claims_nothing_new() {
    let fixture = Fixture::new();
    fixture.submit(2).await;
    let (drainer, worker) = (fixture.drainer(), fixture.worker_in_pod("pod-1"));
    let claimed = worker.claim_one().await;
    let idle = drainer
        .drain(&fixture.queue, &pods(&["pod-1"]), 1, MINUTE)
        .await
        .unwrap();

    assert_eq!(idle, Vec::<String>::new());
    assert_eq!(worker.claim(1).await.jobs, []);
    assert_eq!(worker.consumer.renew(&[pair(&claimed)]).await.unwrap().lost, []);
    worker.complete(&claimed.job.id, &claimed.token).await;
    assert_eq!(
        drainer
            .drain(&fixture.queue, &pods(&["pod-1"]), 1, MINUTE)
            .await
            .unwrap(),
        ["pod-1"]
    );
}

#[tokio::test]
async fn a_mark_ends_by_itself_without_its_giver() {
    let fixture = Fixture::new();
    let submitted = fixture.submit(1).await;
    let worker = fixture.worker_in_pod("pod-1");
    fixture
        .drainer()
        .quiet(&fixture.queue, &pods(&["pod-1"]), 1, Duration::from_millis(300))
        .await
        .unwrap();
    assert!(worker.claim(1).await.quiet_for.is_some());
    let claimed = eventually("the mark ends", || async { worker.claim(1).await.jobs.pop() }).await;
    assert_eq!(claimed.job.id, submitted[0]);
}

#[tokio::test]
async fn a_leader_of_old_can_neither_mark_nor_lift() {
    let mut fixture = Fixture::new();
    let drainer = fixture.drainer();
    drainer
        .quiet(&fixture.queue, &pods(&["pod-1"]), 7, MINUTE)
        .await
        .unwrap();
    let before = fixture.everything();

    let stale = Err(Error::StaleEpoch { given: 6, current: 7 });
    assert_eq!(
        drainer.quiet(&fixture.queue, &pods(&["pod-2"]), 6, MINUTE).await,
        stale.clone()
    );
    assert_eq!(
        drainer
            .unquiet(&fixture.queue, &pods(&["pod-1"]), 6)
            .await
            .map(|()| Vec::new()),
        stale
    );
    fixture.assert_unchanged(&before, "it was refused");
    drainer
        .unquiet(&fixture.queue, &pods(&["pod-1"]), 8)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_registry_tells_who_a_worker_is_and_how_it_is_marked() {
    let fixture = Fixture::new();
    let (drainer, worker) = (fixture.drainer(), fixture.worker_in_pod("pod-1"));
    worker.consumer.beat().await.unwrap();
    drainer
        .drain(&fixture.queue, &pods(&["pod-1"]), 1, MINUTE)
        .await
        .unwrap();

    let state = drainer.workers(&fixture.queue).await.unwrap().remove(0);
    assert_eq!(state.nonce, worker.identity.nonce.as_str());
    assert_eq!(state.pod_uid.as_deref(), Some("pod-1"));
    assert_eq!(state.pod_name.as_deref(), Some("name of pod-1"));
    assert_eq!(
        (state.ip.as_str(), state.host.as_deref()),
        ("10.0.0.7", Some("node"))
    );
    let (mark, lasts) = state.mark.unwrap();
    assert!(mark == Mark::Drain && lasts > Duration::from_secs(50) && lasts <= MINUTE);
    assert!(state.alive_for > Duration::from_secs(30));

    worker.consumer.deregister().await.unwrap();
    assert_eq!(drainer.workers(&fixture.queue).await.unwrap(), []);
}

#[tokio::test]
async fn a_worker_without_a_pod_is_counted_by_itself() {
    let fixture = Fixture::new();
    fixture.submit(1).await;
    let worker = fixture.worker();
    worker.consumer.beat().await.unwrap();
    worker.claim_one().await;
    let state = fixture.drainer().workers(&fixture.queue).await.unwrap().remove(0);
    assert_eq!((state.pod_uid, state.held), (None, 1));
}
