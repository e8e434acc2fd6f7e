//! Gets the Lease, keeps it, gives it back.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use futures::future::{Either, select};
use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{Api, Client, ResourceExt, api::PostParams};
use tokio_util::sync::CancellationToken;

use super::{
    Leadership,
    evaluate::{Action, Seen, evaluate},
    lease,
};
use crate::error::{self, Error};

/// After somebody wrote in between: look again.
const CONFLICT_RETRY: Duration = Duration::from_millis(20);
/// A candidate that has never seen a Lease waits no longer than this for somebody to make it anew: there has most likely never
/// been one, and nobody who installs the operator with a long Lease should wait for it.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);
/// Waits vary by up to this part, so that candidates do not stay in step.
const JITTER: f64 = 0.2;

/// The times of an election, all of them parts of how long a Lease lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a leader that is not heard of is waited for.
    pub duration: Duration,
}

impl Timing {
    /// Between two renewals.
    fn renew(self) -> Duration {
        self.duration / 4
    }

    /// How long a leader trusts in a renewal, from before it was sent.
    fn trust(self) -> Duration {
        self.duration * 3 / 4
    }

    /// How long a Lease that is gone may still have a leader, who makes it anew with the next renewal.
    fn absence(self) -> Duration {
        self.trust()
    }

    /// How long an answer is waited for: one that comes later comes too late.
    fn answer(self) -> Duration {
        self.trust()
    }

    /// A write that is not answered by then is made once more beside the first one, which may never be: half of the time that
    /// a renewal has is left.
    fn second_try(self) -> Duration {
        self.duration / 4
    }

    /// Between two looks of a standby: what it sees late it takes over late.
    fn look(self) -> Duration {
        self.duration / 8
    }
}

/// A candidate.
pub struct Election {
    leases: Api<Lease>,
    name: String,
    /// Who this is: no other process has this name, not even the next one in the same pod.
    me: String,
    timing: Timing,
    leadership: Leadership,
    seen: Option<Seen>,
    /// As it was written last, if nothing has happened since that makes one look.
    held: Option<Lease>,
    /// The highest number of a leadership that was seen, also of a Lease that was deleted; 0 before any was.
    highest: i32,
}

impl Election {
    /// Of `instance`, for the Lease `namespace`/`name`. The client must not be behind a [`super::Guard`], nor try calls again by
    /// itself.
    #[must_use]
    pub fn new(
        client: Client,
        (namespace, name): (&str, &str),
        instance: &str,
        timing: Timing,
        leadership: Leadership,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            me: format!("{instance}_{:016x}", fastrand::u64(..)),
            timing,
            leadership,
            seen: None,
            held: None,
            highest: 0,
        }
    }

    /// Stands for election until `stop` is cancelled, and then gives the Lease back. Whoever acts by the leadership must have
    /// ended by then.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            let wait = match self.step().await {
                Ok(wait) => {
                    failures = 0;
                    wait
                }
                Err(error) => {
                    if self
                        .leadership
                        .troubled(format!("waiting for the Lease: {error}"))
                    {
                        tracing::warn!(%error, "waiting for the Lease");
                    }
                    failures += 1;
                    let most = self.timing.duration / 2;
                    jittered(self.timing.look() * failures.min(8)).min(most)
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                break;
            }
        }
        self.leadership.resign();
        if let Err(error) = self.release().await {
            tracing::warn!(%error, "the Lease ends by itself");
        }
    }

    /// Does what is next; answers when to go on.
    async fn step(&mut self) -> Result<Duration, Error> {
        if let Some(held) = self.held.take() {
            return self.renew(held).await;
        }
        let seen = self.look().await?;
        if let (None, Some(epoch)) = (&seen.lease, self.leadership.epoch()) {
            tracing::info!("somebody deleted the Lease; making it anew");
            return self.make_anew(epoch).await;
        }
        let now = Instant::now();
        let lasts = match &seen.lease {
            Some(_) => self.timing.duration,
            None if self.highest == 0 => self.timing.absence().min(FIRST_PATIENCE),
            None => self.timing.absence(),
        };
        let action = evaluate(&seen, &self.me, lasts, now);
        let lease = seen.lease.unwrap_or_else(|| lease::absent(&self.name));
        match action {
            Action::Create | Action::Acquire => self.acquire(lease).await,
            Action::Renew => self.renew(lease).await,
            Action::Wait { leader, until } => {
                self.stand_by(leader);
                Ok(jittered(self.timing.look()).min(until - now))
            }
        }
    }

    fn stand_by(&self, leader: Option<String>) {
        match leader {
            Some(leader) => {
                if self.leadership.stand_by(&leader) {
                    tracing::info!(%leader, "standing by");
                }
            }
            None => {
                let why = "there is no Lease; whoever leads would make it anew";
                if self.leadership.troubled(why.to_owned()) {
                    tracing::info!("{why}");
                }
            }
        }
    }

    async fn look(&mut self) -> Result<Seen, Error> {
        let found = self
            .call("get the Lease", self.leases.get_opt(&self.name))
            .await?;
        // Later than the renewal was written: who holds it has longer than it needs.
        let now = Instant::now();
        if let Some(lease) = &found {
            self.highest = self.highest.max(lease::transitions(lease));
        }
        let seen = Seen::take_in(self.seen.take(), found, now);
        self.seen = Some(seen.clone());
        Ok(seen)
    }

    async fn acquire(&mut self, lease: Lease) -> Result<Duration, Error> {
        let now = Timestamp::now();
        let transitions = lease::next(self.highest, now);
        let lease = lease::acquired(lease, &self.me, transitions, self.timing.duration, now);
        self.write(lease).await
    }

    /// The Lease of a term that goes on: others wait for longer than that lasts, so nobody else has led.
    async fn make_anew(&mut self, epoch: u64) -> Result<Duration, Error> {
        let transitions = i32::try_from(epoch).unwrap_or(i32::MAX);
        let (lease, duration) = (lease::absent(&self.name), self.timing.duration);
        let lease = lease::acquired(lease, &self.me, transitions, duration, Timestamp::now());
        self.write(lease).await
    }

    async fn renew(&mut self, lease: Lease) -> Result<Duration, Error> {
        self.write(lease::renewed(lease, self.timing.duration, Timestamp::now()))
            .await
    }

    /// Writes the Lease, if nobody else wrote since it was seen, and leads.
    async fn write(&mut self, lease: Lease) -> Result<Duration, Error> {
        let sent_at = Instant::now();
        match self.put_by_two(&lease).await {
            Ok(written) => {
                let transitions = lease::transitions(&written);
                self.highest = self.highest.max(transitions);
                let epoch = u64::try_from(transitions).unwrap_or(0);
                self.leadership.lead(epoch, sent_at + self.timing.trust());
                self.held = Some(written);
                Ok(self.timing.renew().saturating_sub(sent_at.elapsed()))
            }
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(jittered(CONFLICT_RETRY)),
            Err(error) => Err(error),
        }
    }

    /// Writes the Lease, with a second try while the first is under way. Both follow upon the same version, so at most
    /// one succeeds; that one is refused may mean that it was the other one, whose answer is still to come.
    async fn put_by_two(&self, lease: &Lease) -> Result<Lease, Error> {
        let mut first = pin!(self.put(lease));
        if let Ok(answer) = tokio::time::timeout(self.timing.second_try(), &mut first).await {
            return answer;
        }
        let second = pin!(self.put(lease));
        match select(first, second).await {
            Either::Left((Err(_), other)) => other.await,
            Either::Right((Err(_), other)) => other.await,
            Either::Left((written, _)) | Either::Right((written, _)) => written,
        }
    }

    async fn put(&self, lease: &Lease) -> Result<Lease, Error> {
        let params = PostParams::default();
        if lease.resource_version().is_some() {
            self.call("write the Lease", self.leases.replace(&self.name, &params, lease))
                .await
        } else {
            self.call("create the Lease", self.leases.create(&params, lease))
                .await
        }
    }

    async fn release(&mut self) -> Result<(), Error> {
        if self.held.is_none() {
            self.held = self.look().await?.lease;
        }
        let holder = |lease: &Lease| lease.spec.as_ref()?.holder_identity.clone();
        let Some(lease) = self
            .held
            .take()
            .filter(|lease| holder(lease).as_ref() == Some(&self.me))
        else {
            return Ok(());
        };
        self.put(&lease::released(lease, Timestamp::now())).await?;
        tracing::info!("gave the Lease back");
        Ok(())
    }

    async fn call<T>(
        &self,
        doing: &'static str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        let answer = self.timing.answer();
        match tokio::time::timeout(answer, error::call(doing, request)).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout { doing, after: answer }),
        }
    }
}

fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(1.0 - JITTER / 2.0 + JITTER * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower_test::mock::{Handle, SendResponse};

    use super::*;

    /// An API server with one Lease, whose answers are given by the test.
    struct Server {
        calls: Handle<Request<Body>, Response<Body>>,
        version: u64,
    }

    struct Call {
        method: Method,
        lease: Value,
        answer: SendResponse<Response<Body>>,
    }

    impl Server {
        fn with_candidate() -> (Self, Leadership, CancellationToken) {
            let (service, calls) = tower_test::mock::pair();
            let (leadership, stop) = (Leadership::candidate(), CancellationToken::new());
            let timing = Timing {
                duration: Duration::from_secs(4),
            };
            let client = Client::new(service, "default");
            let election = Election::new(client, ("default", "operator"), "me", timing, leadership.clone());
            tokio::spawn(election.run(stop.clone()));
            (Self { calls, version: 1 }, leadership, stop)
        }

        async fn next(&mut self) -> Call {
            let next = tokio::time::timeout(Duration::from_secs(20), self.calls.next_request());
            let (request, answer) = next.await.unwrap().unwrap();
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            Call {
                method: parts.method,
                lease: serde_json::from_slice(&body).unwrap_or_default(),
                answer,
            }
        }

        fn write(&mut self, call: Call) {
            self.version += 1;
            let mut lease = call.lease;
            lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
            respond(call.answer, 200, &lease);
        }

        /// Until it leads by a Lease that it made; answers in which term.
        async fn made(&mut self) -> Option<u64> {
            let started = Instant::now();
            let create = self.create_after_looks().await;
            let waited = started.elapsed();
            assert!(waited >= FIRST_PATIENCE, "somebody may have led: {waited:?}");
            let term = create.lease["spec"]["leaseTransitions"].as_u64();
            self.write(create);
            term
        }

        async fn create_after_looks(&mut self) -> Call {
            loop {
                let call = self.next().await;
                match call.method {
                    Method::GET => refuse(call, 404),
                    _ => {
                        assert_eq!(call.method, Method::POST);
                        return call;
                    }
                }
            }
        }
    }

    fn refuse(call: Call, code: u16) {
        let reason = if code == 404 { "NotFound" } else { "Conflict" };
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no", "reason": reason});
        respond(call.answer, code, &status);
    }

    fn respond(answer: SendResponse<Response<Body>>, code: u16, body: &Value) {
        let body = Body::from(serde_json::to_vec(body).unwrap());
        answer.send_response(Response::builder().status(code).body(body).unwrap());
    }

    #[tokio::test]
    async fn renewal_that_hangs_is_made_once_more_before_the_term_ends() {
        let (mut server, leadership, _stop) = Server::with_candidate();
        let term = server.made().await;
        let hangs = server.next().await;
        let again = server.next().await;
        assert_eq!((&again.method, &again.lease), (&Method::PUT, &hangs.lease));
        server.write(again);
        let next = server.next().await;
        assert_eq!(next.method, Method::PUT, "it goes on renewing, and need not look");
        assert_eq!(leadership.epoch(), term);
        drop(hangs);
    }

    #[tokio::test]
    async fn refusal_of_the_second_try_is_no_loss_where_the_first_succeeded() {
        let (mut server, leadership, _stop) = Server::with_candidate();
        let term = server.made().await;
        let slow = server.next().await;
        let again = server.next().await;
        refuse(again, 409);
        server.write(slow);
        let next = server.next().await;
        assert_eq!(next.method, Method::PUT, "it goes on renewing, and need not look");
        assert_eq!(leadership.epoch(), term);
    }

    #[tokio::test]
    async fn lease_that_somebody_else_took_is_looked_at() {
        let (mut server, _leadership, _stop) = Server::with_candidate();
        server.made().await;
        let renewal = server.next().await;
        refuse(renewal, 409);
        assert_eq!(server.next().await.method, Method::GET);
    }

    #[tokio::test]
    async fn lease_that_somebody_deleted_is_made_anew_in_the_same_term() {
        let (mut server, leadership, _stop) = Server::with_candidate();
        let term = server.made().await;
        // As the API server answers to a change of what is gone, and to one that names a UID which is gone.
        for code in [404, 409] {
            let renewal = server.next().await;
            refuse(renewal, code);
            let look = server.next().await;
            assert_eq!(look.method, Method::GET);
            refuse(look, 404);
            let anew = server.next().await;
            assert_eq!(anew.method, Method::POST, "at once");
            assert_eq!(anew.lease["spec"]["leaseTransitions"].as_u64(), term);
            server.write(anew);
            assert_eq!(leadership.epoch(), term);
        }
    }

    #[tokio::test]
    async fn standby_leaves_a_deleted_lease_to_its_leader_for_as_long_as_that_may_live() {
        let (mut server, leadership, _stop) = Server::with_candidate();
        let look = server.next().await;
        let theirs = lease::acquired(
            lease::absent("operator"),
            "other",
            7,
            Duration::from_secs(4),
            Timestamp::now(),
        );
        respond(look.answer, 200, &serde_json::to_value(theirs).unwrap());
        let gone = Instant::now();
        let create = server.create_after_looks().await;
        let waited = gone.elapsed();
        assert!(waited >= Duration::from_secs(3), "{waited:?}");
        assert!(create.lease["spec"]["leaseTransitions"].as_i64() > Some(7));
        assert_eq!(leadership.epoch(), None);
    }
}
