//! The check at start: every script once, as the user that will run them.
//!
//! A script that lacks a right in its middle would leave half of what it does. So each is tried on keys of a queue
//! that does not exist, in one transaction, so that nobody sees the job that it makes on the jobs database.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value};

use crate::{
    Ended, Ending, Error, Idempotency, Identity, JobId, JobOptions, JobResult, NewJob, Nonce, Payload,
    Progress, Queue, Result, Retention, Retry, Serializer, Token,
    connect::Link,
    error::brief_debug,
    foreign::{Connections, Suspect},
    keys::Keys,
    scripts::{
        self, Beat, CancelJob, Claim, DeleteDead, Deregister, EndMissing, FindForeign, FinishJobs, Get,
        GetDetails, GetResult, GetStates, GiveBack, Guard, List, ListDead, LookOver, MarkPods, Marking,
        Purge, Renew, Report, RetryDead, Scratch, Sight, Step, Submit, TakeChanged, TakeTurn, TickQueue,
        Workers,
    },
};

/// Runs every script on scratch keys of `queue`, and touches the real list as a script will.
pub(crate) async fn run(link: &Link, queue: &Queue) -> Result<()> {
    let nonce = Nonce::fresh();
    let jobs = ["done", "cancelled"].map(|fate| {
        let id = JobId::new(format!("workerpool-check-{fate}-{nonce}")).unwrap_or_else(JobId::fresh);
        NewJob {
            idempotency: Some(Idempotency {
                key: id.to_string(),
                fingerprint: String::new(),
                keep: Duration::from_secs(1),
            }),
            id,
            start: String::new(),
            end: String::new(),
            payload: Some(Payload::kept("0".to_owned())),
            options: JobOptions {
                watched: true,
                ..JobOptions::default()
            },
        }
    });
    let trial = Trial {
        keys: Keys::scratch(queue, nonce.as_str()),
        calls: Vec::new(),
        scripts: Vec::new(),
    };
    let trial = trial.of_everything(&nonce, &jobs);
    trial.run(link, Keys::new(queue).main()).await
}

struct Trial {
    keys: Keys,
    calls: Vec<Cmd>,
    scripts: Vec<&'static scripts::Script>,
}

impl Trial {
    fn call<S: Step>(&mut self, step: &S) {
        self.calls.push(scripts::command(&self.keys, step));
        self.scripts.push(step.script());
    }

    /// A job's whole life, and all that goes on around it.
    fn of_everything(mut self, nonce: &Nonce, jobs: &[NewJob; 2]) -> Self {
        let [job, other] = jobs;
        let (lease, retry) = (Duration::from_secs(30), Retry::default());
        let pods = [nonce.to_string()];
        let worker = Identity {
            nonce: nonce.clone(),
            pod_uid: None,
            pod_name: None,
            ip: String::new(),
            host: None,
        };
        let claims = [Nonce::fresh(), Nonce::fresh()];
        let held = claims
            .each_ref()
            .map(|claim| [(job.id.clone(), Token::of(nonce, claim))]);
        let mark = |marking| MarkPods {
            marking,
            pods: &pods,
            epoch: 0,
            time: lease,
        };
        let claim = |nonce| Claim {
            worker: &worker,
            nonce,
            slots: 1,
            lease,
        };

        self.call(&Submit {
            jobs,
            serializer: Serializer::default(),
        });
        self.call(&Get(&job.id));
        self.call(&List {
            after: None,
            limit: 1,
        });
        self.call(&GetDetails(&job.id));
        self.call(&Beat {
            worker: &worker,
            lease,
        });
        self.call(&mark(Marking::Quiet));
        self.call(&mark(Marking::Lift));
        self.call(&Workers);
        self.call(&LookOver {
            max_workers: 1,
            max_held: 1,
        });
        self.call(&claim(&claims[0]));
        self.call(&Renew {
            held: &held[0],
            lease,
        });
        self.call(&GiveBack(&held[0]));
        let ended = ended_of(&held[0]);
        self.call(&TakeTurn {
            finish: FinishJobs { ended: &ended, retry },
            claim: claim(&claims[1]),
        });
        let report = held[1]
            .clone()
            .map(|(id, token)| (id, token, Progress::default()));
        self.call(&Report(&report));
        self.call(&CancelJob(&other.id));
        self.of_the_dead(nonce);
        self.of_foreigners(&job.id);
        self.call(&TickQueue { lease, retry });
        self.call(&Guard { lease });
        self.call(&Purge {
            retention: Retention::default(),
            limit: 1,
        });
        let ended = ended_of(&held[1]);
        self.call(&GetResult(&job.id));
        self.call(&GetStates(std::slice::from_ref(&job.id)));
        self.call(&TakeChanged { limit: 1 });
        self.call(&FinishJobs { ended: &ended, retry });
        self.call(&Deregister(nonce));
        self.call(&Scratch(jobs));
        self
    }

    fn of_the_dead(&mut self, nonce: &Nonce) {
        let members = [nonce.to_string()];
        self.call(&ListDead {
            after: None,
            limit: 1,
        });
        self.call(&RetryDead(&members));
        self.call(&DeleteDead(&members));
    }

    fn of_foreigners(&mut self, id: &JobId) {
        let suspects = [Suspect {
            id: id.to_string(),
            worker: String::new(),
        }];
        self.call(&FindForeign { more: false });
        self.call(&EndMissing(&[id.to_string()]));
        self.call(&Sight {
            suspects: &suspects,
            connections: &Connections::default(),
            recover: false,
            max_lost: 1,
        });
    }

    async fn run(self, link: &Link, main: &str) -> Result<()> {
        let mut live = link.live().await?;
        for script in &self.scripts {
            script
                .load_async(&mut live.connection)
                .await
                .map_err(|err| link.failed(&live, &err))?;
        }
        let mut transaction = Pipeline::new();
        transaction.atomic();
        // Takes nothing, and needs the right to.
        transaction.cmd("LPOP").arg(main).arg(0);
        transaction.cmd("RPUSH").arg(self.keys.main()).arg("");
        transaction
            .cmd("BLMOVE")
            .arg(self.keys.main())
            .arg(self.keys.arrivals())
            .arg(&["LEFT", "RIGHT"])
            .arg(1);
        transaction.cmd("DEL").arg(self.keys.arrivals());
        for call in self.calls {
            transaction.add_command(call);
        }
        let answers: Vec<Value> = transaction
            .query_async(&mut live.connection)
            .await
            .map_err(|err| link.failed(&live, &err))?;
        match answers.iter().rev().nth(2) {
            // Second to last but one: the job's finish.
            Some(Value::Array(finished)) if *finished == [Value::Int(0)] => Ok(()),
            other => Err(Error::Unexpected(format!(
                "the check's job was not finished: {}",
                brief_debug(&other)
            ))),
        }
    }
}

/// That the job is complete, and gave something.
fn ended_of([(id, token)]: &[(JobId, Token); 1]) -> [Ended; 1] {
    [Ended {
        id: id.clone(),
        token: token.clone(),
        how: Ending::Complete {
            result: Some(JobResult::kept(String::new(), Vec::new())),
        },
    }]
}
