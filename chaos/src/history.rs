//! What Redis' append-only file says of the jobs: replayed step by step, without the protocol's own records.

use std::collections::{HashMap, VecDeque};

use crate::aof::{Command, Step};

/// The keys that are looked at.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The database of the lists.
    pub queue_db: Vec<u8>,
    /// The database of the jobs' hashes.
    pub jobs_db: Vec<u8>,
    /// The list that foreign programs share, and the one into which ours move an item when they wake.
    pub lists: [Vec<u8>; 2],
}

impl Keys {
    /// Those of the queue `queue` on the databases that are the default.
    pub fn of(queue: &str) -> Self {
        Self {
            queue_db: b"2".to_vec(),
            jobs_db: b"3".to_vec(),
            lists: [
                format!("hotqueue:{queue}").into_bytes(),
                format!("workerpool:{queue}:arrivals").into_bytes(),
            ],
        }
    }
}

/// What became of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobHistory {
    /// What its hash says last; empty if it is gone.
    pub status: String,
    /// Its field `end`, which names the client's request.
    pub request: String,
    /// Its field `start`, which says what its handler does.
    pub work: String,
    /// How often its hash was made, all fields at once.
    pub created: u32,
    /// How often it was made by a lone command: a foreign producer's, which puts its item in by another one.
    pub foreign_created: u32,
    /// How often a script wrote that it is complete.
    pub completions: u32,
    /// How often a lone command wrote so: a foreign program. Its client library may repeat one that was not answered.
    pub foreign_completions: u32,
    /// How often a lone command put it on the list: a foreign producer.
    pub foreign_pushes: u32,
    /// How often a lone command took it off the list: ours are scripts, so it was somebody else's.
    pub foreign_pops: u32,
}

impl JobHistory {
    fn absorb(&mut self, later: Self) {
        if later.created > 0 {
            self.request = later.request;
            self.work = later.work;
        }
        self.status = later.status;
        self.created += later.created;
        self.foreign_created += later.foreign_created;
        self.completions += later.completions;
        self.foreign_completions += later.foreign_completions;
        self.foreign_pushes += later.foreign_pushes;
        self.foreign_pops += later.foreign_pops;
    }
}

/// All jobs, and the two lists as they are now.
#[derive(Debug)]
pub struct History {
    /// By id.
    pub jobs: HashMap<String, JobHistory>,
    lists: [VecDeque<Vec<u8>>; 2],
    keys: Keys,
    db: Vec<u8>,
}

/// A command that this module does not follow was used on a list that it follows.
#[derive(Debug, thiserror::Error)]
#[error("the log has {0}, which changes a list in a way that is not counted")]
pub struct Unknown(String);

impl History {
    /// Of an empty Redis.
    pub fn new(keys: Keys) -> Self {
        Self {
            jobs: HashMap::new(),
            lists: Default::default(),
            keys,
            db: b"0".to_vec(),
        }
    }

    /// Whether an item of this job lies on one of the lists.
    pub fn waits(&self, id: &str) -> bool {
        self.lists
            .iter()
            .flatten()
            .any(|item| id_of(item).as_deref() == Some(id))
    }

    /// Without any job, but with the lists and on the database of this one: to follow what comes next apart.
    pub fn fork(&self) -> Self {
        Self {
            jobs: HashMap::new(),
            lists: self.lists.clone(),
            keys: self.keys.clone(),
            db: self.db.clone(),
        }
    }

    /// Takes in what happened to the jobs of `other`, after what is known of them already.
    pub fn absorb(&mut self, other: Self) {
        for (id, job) in other.jobs {
            self.jobs.entry(id).or_default().absorb(job);
        }
    }

    /// Goes on by one step.
    ///
    /// # Errors
    /// [`Unknown`] if a list was changed by a command that is not followed: the counts would be wrong.
    pub fn apply(&mut self, step: &Step) -> Result<(), Unknown> {
        step.commands
            .iter()
            .try_for_each(|command| self.command(command, step.together))
    }

    fn command(&mut self, command: &Command, together: bool) -> Result<(), Unknown> {
        let Some((name, arguments)) = command.split_first() else {
            return Ok(());
        };
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        match (name.as_str(), arguments) {
            ("SELECT", [db]) => self.db.clone_from(db),
            ("FLUSHALL" | "FLUSHDB" | "SWAPDB", _) => return Err(Unknown(name)),
            _ if self.db == self.keys.jobs_db => self.on_jobs(&name, arguments, together),
            _ if self.db == self.keys.queue_db => return self.on_queue(&name, arguments, together),
            _ => {}
        }
        Ok(())
    }

    fn on_jobs(&mut self, name: &str, arguments: &[Vec<u8>], together: bool) {
        match (name, arguments) {
            ("HSET" | "HMSET" | "HSETNX", [key, fields @ ..]) => {
                let Some(id) = job_of(key) else { return };
                let job = self.jobs.entry(id).or_default();
                let fields: HashMap<&[u8], &[u8]> = fields
                    .chunks_exact(2)
                    .map(|pair| (&pair[0][..], &pair[1][..]))
                    .collect();
                if let Some(request) = fields.get(&b"end"[..]) {
                    job.request = String::from_utf8_lossy(request).into_owned();
                    let work = fields.get(&b"start"[..]).copied().unwrap_or_default();
                    job.work = String::from_utf8_lossy(work).into_owned();
                    job.created += 1;
                    job.foreign_created += u32::from(!together);
                }
                if let Some(status) = fields.get(&b"status"[..]) {
                    job.status = String::from_utf8_lossy(status).into_owned();
                    let complete = u32::from(job.status == "complete");
                    if together {
                        job.completions += complete;
                    } else {
                        job.foreign_completions += complete;
                    }
                }
            }
            ("DEL" | "UNLINK", keys) => {
                for job in keys.iter().filter_map(|key| job_of(key)) {
                    self.jobs.entry(job).or_default().status.clear();
                }
            }
            _ => {}
        }
    }

    fn on_queue(&mut self, name: &str, arguments: &[Vec<u8>], together: bool) -> Result<(), Unknown> {
        let Some(list) = arguments.first().and_then(|key| self.list(key)) else {
            return Ok(());
        };
        match (name, arguments) {
            ("RPUSH" | "RPUSHX", [_, items @ ..]) => {
                self.pushed(items, together);
                self.lists[list].extend(items.iter().cloned());
            }
            ("LPUSH" | "LPUSHX", [_, items @ ..]) => {
                items
                    .iter()
                    .for_each(|item| self.lists[list].push_front(item.clone()));
            }
            ("LPOP", [_, count @ ..]) => {
                for _ in 0..count_of(count) {
                    let item = self.lists[list].pop_front();
                    self.popped(item, together);
                }
            }
            ("LREM", [_, count, item]) => self.remove(list, count, item),
            ("LMOVE", [_, to, from_end, to_end]) => {
                let item = match from_end.first() {
                    Some(b'l' | b'L') => self.lists[list].pop_front(),
                    _ => self.lists[list].pop_back(),
                };
                let (Some(item), Some(to)) = (item, self.list(to)) else {
                    return Ok(());
                };
                match to_end.first() {
                    Some(b'l' | b'L') => self.lists[to].push_front(item),
                    _ => self.lists[to].push_back(item),
                }
            }
            ("DEL" | "UNLINK", _) => self.lists[list].clear(),
            _ => {
                return Err(Unknown(format!(
                    "{name} {}",
                    String::from_utf8_lossy(&arguments[0])
                )));
            }
        }
        Ok(())
    }

    fn list(&self, key: &[u8]) -> Option<usize> {
        self.keys.lists.iter().position(|list| list == key)
    }

    fn pushed(&mut self, items: &[Vec<u8>], together: bool) {
        for id in items.iter().filter_map(|item| id_of(item)) {
            if !together {
                self.jobs.entry(id).or_default().foreign_pushes += 1;
            }
        }
    }

    fn popped(&mut self, item: Option<Vec<u8>>, together: bool) {
        if let (Some(id), false) = (item.as_deref().and_then(id_of), together) {
            self.jobs.entry(id).or_default().foreign_pops += 1;
        }
    }

    fn remove(&mut self, list: usize, count: &[u8], item: &[u8]) {
        let count: i64 = String::from_utf8_lossy(count).parse().unwrap_or(0);
        let list = &mut self.lists[list];
        for _ in 0..if count == 0 {
            list.len()
        } else {
            usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX)
        } {
            let found = if count < 0 {
                list.iter().rposition(|other| other == item)
            } else {
                list.iter().position(|other| other == item)
            };
            let Some(found) = found else { return };
            list.remove(found);
        }
    }
}

fn job_of(key: &[u8]) -> Option<String> {
    Some(String::from_utf8_lossy(key.strip_prefix(b"job.")?).into_owned())
}

fn id_of(item: &[u8]) -> Option<String> {
    queue::item::read(item).map(|id| id.to_string())
}

fn count_of(count: &[Vec<u8>]) -> usize {
    count
        .first()
        .and_then(|count| String::from_utf8_lossy(count).parse().ok())
        .unwrap_or(1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::aof::{Steps, tests::written};

    /// What these commands make of a queue.
    pub(crate) fn history(commands: &[&[&str]]) -> History {
        let file = written(commands);
        let mut steps = Steps::new(&file[..], 0);
        let mut history = History::new(Keys::of("queue"));
        while let Some(step) = steps.step().unwrap() {
            history.apply(&step).unwrap();
        }
        history
    }

    #[test]
    fn completions_are_counted_and_not_only_seen() {
        let complete: &[&str] = &["HSET", "job.a", "status", "complete"];
        let begin: &[&str] = &["MULTI"];
        let end: &[&str] = &["EXEC"];
        let history = history(&[
            &["SELECT", "3"],
            &[
                "HSET",
                "job.a",
                "id",
                "a",
                "status",
                "submitted",
                "start",
                "x",
                "end",
                "request 1",
            ],
            begin,
            complete,
            end,
            &["HSET", "job.a", "status", "submitted"],
            begin,
            complete,
            end,
            complete,
        ]);
        let job = &history.jobs["a"];
        assert_eq!(
            (job.completions, job.created, &job.request[..]),
            (2, 1, "request 1")
        );
        assert_eq!(job.foreign_completions, 1);
        assert_eq!(job.status, "complete");
    }

    #[test]
    fn same_key_in_another_database_is_no_job() {
        let history = history(&[&["SELECT", "2"], &["HSET", "job.a", "status", "complete"]]);
        assert!(history.jobs.is_empty());
    }

    #[test]
    fn lone_pop_is_foreign_and_a_scripts_is_not() {
        let history = history(&[
            &["SELECT", "2"],
            &["RPUSH", "hotqueue:queue", "a", "b", "c"],
            &["LPOP", "hotqueue:queue"],
            &["MULTI"],
            &["LPOP", "hotqueue:queue", "1"],
            &["SET", "x", "1"],
            &["EXEC"],
        ]);
        assert_eq!(history.jobs["a"].foreign_pops, 1);
        assert_eq!(history.jobs["a"].foreign_pushes, 1);
        assert_eq!(history.jobs["b"].foreign_pops, 0);
        assert!(history.waits("c") && !history.waits("b"));
    }

    #[test]
    fn item_moved_on_a_wake_up_still_waits() {
        let history = history(&[
            &["SELECT", "2"],
            &["RPUSH", "hotqueue:queue", "a"],
            &[
                "LMOVE",
                "hotqueue:queue",
                "workerpool:queue:arrivals",
                "left",
                "right",
            ],
        ]);
        assert!(history.waits("a"));
    }

    #[test]
    fn fork_knows_what_it_takes_off_the_list() {
        let before = history(&[&["SELECT", "2"], &["RPUSH", "hotqueue:queue", "a"]]);
        let mut after = before.fork();
        let file = written(&[&["LPOP", "hotqueue:queue"]]);
        after
            .apply(&Steps::new(&file[..], 0).step().unwrap().unwrap())
            .unwrap();
        assert_eq!(after.jobs["a"].foreign_pops, 1);
        let mut total = History::new(Keys::of("queue"));
        total.absorb(after.fork());
        total.absorb(after);
        assert_eq!(total.jobs["a"].foreign_pops, 1);
    }

    #[test]
    fn deleted_hash_has_no_status() {
        let history = history(&[
            &["SELECT", "3"],
            &["HSET", "job.a", "status", "complete"],
            &["DEL", "job.a"],
        ]);
        assert_eq!(history.jobs["a"].status, "");
    }

    #[test]
    fn command_that_is_not_followed_is_no_silent_error() {
        let file = written(&[
            &["SELECT", "2"],
            &["LINSERT", "hotqueue:queue", "BEFORE", "a", "b"],
        ]);
        let mut steps = Steps::new(&file[..], 0);
        let mut history = History::new(Keys::of("queue"));
        assert!(history.apply(&steps.step().unwrap().unwrap()).is_ok());
        assert!(history.apply(&steps.step().unwrap().unwrap()).is_err());
    }
}
