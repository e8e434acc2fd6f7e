//! The face that takes jobs, keeps their leases, and finishes them or gives them back.

mod ending;
mod terms;

use std::{fmt, sync::Arc, time::Duration};

use redis::Value;
use serde::{Deserialize, Serialize};

pub use self::{
    ending::{Ended, Ending, Finish},
    terms::{Backoff, Lease, Retention, Retry, Terms},
};
use crate::{
    Job, JobId, Payload, Progress, Queue, Result, Risk, Server, Sweep, check,
    connect::{AnswerLimit, Link},
    foreign,
    job::text_newtype,
    keys::Keys,
    reply, risks,
    scripts::{Beat, Claim, Deregister, FinishJobs, GiveBack, Renew, Report, Step, TakeTurn, tick},
};

text_newtype! {
    /// A random text that is used once: who a worker is (one per start), or which claim this is (one per claim).
    Nonce
}

impl Nonce {
    /// A new one.
    pub fn fresh() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }
}

text_newtype! {
    /// Shows that its bearer holds a job: the worker's nonce and the claim's. Never a counter in Redis, which a
    /// failover could roll back.
    Token
}

impl Token {
    pub(crate) fn of(worker: &Nonce, claim: &Nonce) -> Self {
        Self(format!("{worker}.{claim}"))
    }
}

/// Who a worker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// One per start of the process.
    pub nonce: Nonce,
    /// The pod's UID, by which the operator marks it; `None` outside Kubernetes.
    pub pod_uid: Option<String>,
    /// The pod's name, for people.
    pub pod_name: Option<String>,
    /// What is written into a job's field `worker` (the original's `WORKER_IP`).
    pub ip: String,
    /// The host name, for people.
    pub host: Option<String>,
}

impl Identity {
    /// Under what the jobs that it holds are counted, and the operator's marks are looked up.
    pub(crate) fn holder(&self) -> &str {
        self.pod_uid.as_deref().unwrap_or(self.nonce.as_str())
    }
}

/// A job that this worker now holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The job, `in progress` and with this worker's IP. Its `submitted_ms` is not looked up.
    pub job: Job,
    /// What [`Consumer::renew`], [`Consumer::finish`] and [`Consumer::give_back`] ask for.
    pub token: Token,
    /// 1 at the first try.
    pub attempt: u32,
    /// What was submitted with it.
    pub payload: Option<Payload>,
    /// How long this run may take, if the job says so itself; else as the worker says.
    pub timeout: Option<Duration>,
    /// As [`JobOptions::max_attempts`](crate::JobOptions::max_attempts).
    pub max_attempts: Option<u32>,
}

/// What a claim gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    /// At most as many as there were slots.
    pub jobs: Vec<Claimed>,
    /// Set while this worker's pod is marked quiet or draining: until when, from now. It then gets no jobs;
    /// it should not [`Consumer::wake`] but ask again within a second or two.
    pub quiet_for: Option<Duration>,
    /// How many items are still waiting, so that a caller with free slots knows to claim again at once.
    pub remaining: u64,
}

/// Why [`Consumer::wake`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Something arrived; it lies in the shared arrivals list for whoever claims first.
    Arrived,
    /// Nothing arrived in time. Claim all the same: it may have arrived in another way.
    TimedOut,
}

/// What became of the jobs that were to be renewed. Those not named go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Renewal {
    /// No longer this worker's: stop working on them, and write nothing.
    pub lost: Vec<JobId>,
    /// Still held, but their user wants them no more: stop, then [`Consumer::finish`] with [`Ending::Cancelled`].
    pub cancelled: Vec<JobId>,
}

/// What a tick did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tick {
    /// Somebody else ticked just before, so nothing was done.
    pub skipped: bool,
    /// The server had been away, failed over, or stepped its clock: every lease got its whole time again and
    /// nothing was reaped.
    pub guarded: bool,
    /// Jobs whose worker was lost and that will run again.
    pub reaped: u64,
    /// Jobs that are dead now, because they lost too many workers.
    pub dead: u64,
    /// Jobs that are cancelled now, because their worker was lost before it could say so.
    pub cancelled: u64,
    /// Delayed jobs whose time had come.
    pub promoted: u64,
    /// Items that had lain in the arrivals list, put back at the head of the main list.
    pub returned: u64,
    /// Workers that had not been heard of and were struck off the registry.
    pub expired_workers: u64,
    /// Jobs that ended long enough ago to be forgotten.
    pub purged: u64,
}

/// Takes jobs and answers for them. Cheap to clone; clones share their connections. Claims of one worker must
/// not overlap: a claim is told from its repetition by its nonce, and only the last one is remembered.
#[derive(Debug, Clone)]
pub struct Consumer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    link: Link,
    /// Of its own, because it blocks.
    wake_link: Link,
    queue: Queue,
    keys: Keys,
    identity: Identity,
    terms: Terms,
}

impl Consumer {
    /// The longest time that [`Consumer::wake`] blocks.
    pub const MAX_WAKE: Duration = Duration::from_secs(2);

    /// The most slots of one [`Consumer::claim`], and the most jobs in one script call of the others.
    pub const MAX_SLOTS: usize = 1_000;

    /// Makes a consumer. Does not wait for Redis: each call connects if it has to. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Tls`] for settings that cannot work.
    pub fn new(server: &Server, queue: Queue, identity: Identity, terms: Terms) -> Result<Self> {
        terms.validate()?;
        let shared = Shared {
            link: Link::new(server, queue.queue_db, AnswerLimit::WORK)?,
            wake_link: Link::blocking(server, queue.queue_db, Self::MAX_WAKE)?,
            keys: Keys::new(&queue),
            queue,
            identity,
            terms,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The queue that it takes from.
    pub fn queue(&self) -> &Queue {
        &self.shared.queue
    }

    /// As [`crate::Producer::check`].
    ///
    /// # Errors
    /// Any that says why the queue cannot be used.
    pub async fn check(&self) -> Result<()> {
        check::run(&self.shared.link, &self.shared.queue).await
    }

    /// One round trip.
    ///
    /// # Errors
    /// Any that says why Redis cannot be used.
    pub async fn ping(&self) -> Result<()> {
        self.shared.link.ping().await
    }

    /// As [`crate::Producer::risks`].
    ///
    /// # Errors
    /// Any that says why Redis cannot be asked.
    pub async fn risks(&self) -> Result<Vec<Risk>> {
        risks::read(&self.shared.link).await
    }

    /// Enters this worker into the registry, or shows that it is still alive: call it as often as
    /// [`Lease::renew_every`] says. A worker that was not heard of for a whole lease and some is struck off.
    ///
    /// # Errors
    /// Any.
    pub async fn beat(&self) -> Result<()> {
        self.run(&Beat {
            worker: &self.shared.identity,
            lease: self.lease(),
        })
        .await
    }

    /// Strikes this worker off the registry: the last thing before it exits.
    ///
    /// # Errors
    /// Any.
    pub async fn deregister(&self) -> Result<()> {
        self.run(&Deregister(&self.shared.identity.nonce)).await
    }

    /// Blocks until something arrives or the time (at most [`Consumer::MAX_WAKE`]) is over, on a connection
    /// of its own. Only a wake-up: what arrived is for whoever claims first, so dropping this future loses
    /// nothing. At most one at a time.
    ///
    /// # Errors
    /// Any.
    pub async fn wake(&self, timeout: Duration) -> Result<Wake> {
        let Shared { wake_link, keys, .. } = &*self.shared;
        // Zero would block for ever, and so does what Redis 6.2 rounds to zero.
        let seconds = timeout
            .clamp(Duration::from_millis(10), Self::MAX_WAKE)
            .as_secs_f64();
        let mut take = redis::cmd("BLMOVE");
        take.arg(keys.main())
            .arg(keys.arrivals())
            .arg(&["LEFT", "RIGHT"])
            .arg(seconds);
        match wake_link.send(&take).await? {
            Value::Nil => Ok(Wake::TimedOut),
            Value::BulkString(_) => Ok(Wake::Arrived),
            other => Err(reply::unexpected("no answer to a move", &other)),
        }
    }

    /// Hands on what [`Consumer::wake`] was woken by, unless somebody has claimed it: it goes back to the head of the list,
    /// where it wakes another worker. For who has no slot for it any more. What lies before it in the arrivals list stays
    /// before it.
    ///
    /// # Errors
    /// Any. Then it may lie in the arrivals list until a worker claims without being woken, which each does every
    /// [`Consumer::MAX_WAKE`].
    pub async fn pass_on(&self) -> Result<()> {
        let Shared { link, keys, .. } = &*self.shared;
        let mut back = redis::cmd("LMOVE");
        back.arg(keys.arrivals()).arg(keys.main()).arg(&["RIGHT", "LEFT"]);
        link.send::<Value>(&back).await.map(|_| ())
    }

    /// Takes up to `slots` jobs. The same nonce again answers the same, so that a lost answer costs nothing: until there
    /// is an answer repeat it with the same nonce, whatever the errors say, and with slots for what it may have taken.
    ///
    /// # Errors
    /// Any. Also after one that is not [ambiguous](crate::Error::is_ambiguous) an earlier try may have taken jobs.
    pub async fn claim(&self, nonce: &Nonce, slots: usize) -> Result<Claims> {
        if slots == 0 {
            return Ok(Claims::default());
        }
        self.run(&self.claim_of(nonce, slots)).await
    }

    /// Says how runs ended and takes up to `slots` jobs: [`Consumer::finish`] and [`Consumer::claim`] in one script call,
    /// which costs Redis less than the two. All of it happens or nothing. What does not fit into one call is finished
    /// before by calls of its own.
    ///
    /// # Errors
    /// Any. Said again with the same nonce it answers the same. Its parts may also be said again apart, the claim with
    /// this nonce.
    pub async fn turn(&self, ended: &[Ended], nonce: &Nonce, slots: usize) -> Result<(Vec<Finish>, Claims)> {
        let mut calls = ending::calls(ended, Self::MAX_SLOTS);
        let (Some(last), 1..) = (calls.pop(), slots) else {
            return Ok((self.finish(ended).await?, self.claim(nonce, slots).await?));
        };
        let mut answers = Vec::with_capacity(ended.len());
        for ended in calls {
            answers.extend(self.run(&self.finish_of(ended)).await?);
        }
        let turn = TakeTurn {
            finish: self.finish_of(last),
            claim: self.claim_of(nonce, slots),
        };
        let (last, claims) = self.run(&turn).await?;
        answers.extend(last);
        Ok((answers, claims))
    }

    /// Gives each lease its whole time again: call it as often as [`Lease::renew_every`] says. An
    /// expired lease that nobody has reaped yet is renewed too.
    ///
    /// # Errors
    /// Any; none was renewed then unless it is ambiguous.
    pub async fn renew(&self, held: &[(JobId, Token)]) -> Result<Renewal> {
        let mut renewal = Renewal::default();
        for held in held.chunks(Self::MAX_SLOTS) {
            let part = self
                .run(&Renew {
                    held,
                    lease: self.lease(),
                })
                .await?;
            renewal.lost.extend(part.lost);
            renewal.cancelled.extend(part.cancelled);
        }
        Ok(renewal)
    }

    /// Says how far runs are: one script call for up to [`Consumer::MAX_SLOTS`]. Only the bearer of the current token
    /// changes anything. Of a run that says something twice, the later is kept.
    ///
    /// # Errors
    /// Any; safe to repeat.
    pub async fn report(&self, runs: &[(JobId, Token, Progress)]) -> Result<()> {
        for runs in runs.chunks(Self::MAX_SLOTS) {
            self.run(&Report(runs)).await?;
        }
        Ok(())
    }

    /// Says how runs ended, and is told what became of each job, in their order: one script call for up to
    /// [`Consumer::MAX_SLOTS`], or for 8 MiB of results. Only the bearer of the current token changes anything, so a job completes once,
    /// whoever else may think it holds it. A job whose cancellation was asked for is cancelled, unless it is
    /// complete.
    ///
    /// # Errors
    /// Any; safe to repeat.
    pub async fn finish(&self, ended: &[Ended]) -> Result<Vec<Finish>> {
        let mut answers = Vec::with_capacity(ended.len());
        for ended in ending::calls(ended, Self::MAX_SLOTS) {
            answers.extend(self.run(&self.finish_of(ended)).await?);
        }
        Ok(answers)
    }

    /// Puts jobs back at the head of the list in the order in which they are given (the first will be taken
    /// first), without spending an attempt: status `submitted`, no `worker`. Answers how many were still ours.
    ///
    /// # Errors
    /// Any; safe to repeat.
    pub async fn give_back(&self, held: &[(JobId, Token)]) -> Result<u64> {
        let mut returned = 0;
        // The last part first, so that the first job ends at the very head.
        for held in held.chunks(Self::MAX_SLOTS).rev() {
            returned += self.run(&GiveBack(held)).await?;
        }
        Ok(returned)
    }

    /// What somebody must do as often as [`Lease::tick_every`] says: reap expired leases, promote what is due,
    /// return old arrivals, strike off silent workers, forget what ended long ago. Every worker may: too soon
    /// after another, it does nothing.
    ///
    /// # Errors
    /// Any.
    pub async fn tick(&self) -> Result<Tick> {
        let Shared {
            link, keys, terms, ..
        } = &*self.shared;
        tick(link, keys, terms).await
    }

    /// Looks for jobs that workers which are not ours took and lost, and puts them back at the head of the list if
    /// `recover`; such a job may run twice. Call it every five seconds or so; too soon after another, it does nothing.
    ///
    /// # Errors
    /// Any; safe to repeat.
    pub async fn sweep(&self, recover: bool) -> Result<Sweep> {
        let Shared {
            link, keys, terms, ..
        } = &*self.shared;
        foreign::sweep(link, keys, recover, terms.retry.max_lost).await
    }

    fn claim_of<'a>(&'a self, nonce: &'a Nonce, slots: usize) -> Claim<'a> {
        Claim {
            worker: &self.shared.identity,
            nonce,
            slots: slots.min(Self::MAX_SLOTS),
            lease: self.lease(),
        }
    }

    fn finish_of<'a>(&self, ended: &'a [Ended]) -> FinishJobs<'a> {
        FinishJobs {
            ended,
            retry: self.shared.terms.retry,
        }
    }

    fn lease(&self) -> Duration {
        self.shared.terms.lease.duration
    }

    async fn run<S: Step>(&self, step: &S) -> Result<S::Answer> {
        self.shared.link.run(&self.shared.keys, step).await
    }
}
