//! Jobs that workers which are not ours took, and lost.
//!
//! BLPOP keeps no trace of who took what. But a job that we submitted has a place in our index: if it is older than
//! the head of the list, waits nowhere, is not held by ours and says `in progress`, then a foreign worker has it, and
//! its field `worker` says at which address. Whether that worker lives is asked of the server's list of connections.
//! What is not there says nothing by itself (a worker may connect anew for each command): only a job whose worker was
//! *seen*, with connections that last, and lost them all, is lost. docs/protocol.md says what can still mislead.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use redis::{Pipeline, Value};

use crate::{
    Error, Result,
    connect::Link,
    keys::Keys,
    reply,
    scripts::{EndMissing, FindForeign, Sight},
};

/// Two sweeps closer than this are one. So long a connection must have lasted, and so long all must be gone.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// The most looks of one sweep, each at a thousand jobs; the next one goes on from there.
const MAX_LOOKS: usize = 100;

/// So long a job must be submitted and wait nowhere before it counts as removed from the queue, while no foreign worker is at
/// work: one that takes a job says so in the next moment, or when it has done it.
pub(crate) const MISSING_TIME: Duration = Duration::from_secs(600);

/// The same while a foreign worker is at work, or nobody may know: it may be on this job and not say so before the end.
const MISSING_TIME_AT_WORK: Duration = Duration::from_secs(3_600);

/// The most suspects of one script call.
const CHUNK: usize = 500;

/// More connections than one pod is likely to have: an address that many share, where connections tell nothing.
const CROWD: usize = 64;

/// What a sweep found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sweep {
    /// Somebody else swept just before, so nothing was done.
    pub skipped: bool,
    /// Jobs of our index that foreign workers have at present.
    pub suspects: u64,
    /// Those of them that were found lost this time: their worker's connections are gone.
    pub lost: u64,
    /// Those that were put back at the head of the list; they may run twice.
    pub recovered: u64,
    /// Those that had lost too many workers, and are dead now.
    pub dead: u64,
    /// Jobs that were submitted and had been neither on the list nor with anybody for long, and are dead now: a retry puts
    /// them back.
    pub removed: u64,
    /// There were suspects, but the server's list of connections could not tell: this user may not read it (`CLIENT
    /// LIST`, `CONFIG GET`), or the server cuts idle connections (its setting `timeout`).
    pub blind: bool,
}

/// A job that a foreign worker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suspect {
    pub(crate) id: String,
    /// What that worker wrote into the job's hash; the original writes its IP.
    pub(crate) worker: String,
}

/// A job that is submitted, and neither on the list nor with a worker of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) id: String,
    /// For how long that was seen.
    pub(crate) time: Duration,
}

/// What workers that are not ours are doing, as the server's list of connections shows it.
///
/// A connection that is blocked in BLPOP waits for a job. One that was seen to take from a list, and is not blocked now, has a job,
/// whatever it called last: a job may put the next one into the queue. One that was never seen to take is unknown: it may
/// have taken its job before anybody looked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForeignWorkers {
    /// Addresses of those that work, with how many of each do; among them the addresses in `unsure`.
    pub busy: BTreeMap<IpAddr, u64>,
    /// Addresses at which all wait, with their connections.
    pub waiting: BTreeMap<IpAddr, Vec<u64>>,
    /// Addresses that count as busy because it is not known what their only connections do.
    pub unsure: BTreeSet<IpAddr>,
}

/// A connection that has called nothing for so long, and was never seen to take a job, is taken for idle.
const UNSURE_TIME: Duration = Duration::from_secs(600);

/// The connections that were seen to take from a list, with their address and port: numbers restart with the server.
///
/// One of these forgets a connection when it has ended, so it is bounded by the server's `maxclients`.
#[derive(Debug, Default)]
pub(crate) struct Takers(Mutex<HashMap<u32, HashMap<u64, String>>>);

/// What the foreign workers of all queues of a database are doing; `None` if this user may not ask.
pub(crate) async fn workers(link: &Link, queue_db: u32, takers: &Takers) -> Result<Option<ForeignWorkers>> {
    let listed = link.send(redis::cmd("CLIENT").arg("LIST")).await;
    let Some(clients) = permitted(link, "CLIENT LIST", "+client|list", listed)? else {
        return Ok(None);
    };
    Ok(Some(takers.look(&reply::text(clients)?, queue_db)))
}

impl Takers {
    fn look(&self, clients: &str, queue_db: u32) -> ForeignWorkers {
        let mut databases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = databases.entry(queue_db).or_default();
        let before = std::mem::take(known);
        let (mut workers, mut unsure) = (ForeignWorkers::default(), BTreeMap::<IpAddr, u64>::new());
        for (line, (id, address, _)) in clients.lines().filter_map(|line| Some((line, read_line(line)?))) {
            if field(line, "db").and_then(|db| db.parse().ok()) != Some(queue_db) {
                continue;
            }
            let socket = field(line, "addr").unwrap_or_default();
            let takes = field(line, "cmd") == Some("blpop");
            let blocked = field(line, "flags").is_some_and(|flags| flags.contains('b'));
            if takes || before.get(&id).is_some_and(|seen| seen == socket) {
                known.insert(id, socket.to_owned());
                if takes && blocked {
                    workers.waiting.entry(address).or_default().push(id);
                } else {
                    *workers.busy.entry(address).or_default() += 1;
                }
            } else if !blocked && may_have_a_job(line) {
                *unsure.entry(address).or_default() += 1;
            }
        }
        workers
            .waiting
            .retain(|address, _| !workers.busy.contains_key(address));
        // Beside one that takes, others of its pod do something else.
        unsure.retain(|address, _| {
            !workers.busy.contains_key(address) && !workers.waiting.contains_key(address)
        });
        workers.unsure.extend(unsure.keys().copied());
        // A pod has one job at least; the list does not show how many.
        workers
            .busy
            .extend(unsure.into_keys().map(|address| (address, 1)));
        workers
    }
}

/// Whether a connection that was never seen to take a job may have one. It put something into a list since its BLPOP, or called
/// anything else that a job may call; but no program that works calls nothing for so long, or what only watches call.
fn may_have_a_job(line: &str) -> bool {
    const NEVER: [&str; 11] = [
        "auth", "blmove", "client", "config", "evalsha", "hello", "info", "lpop", "monitor", "ping", "select",
    ];
    let command = field(line, "cmd").unwrap_or("NULL");
    let idle = field(line, "idle").and_then(|idle| idle.parse().ok());
    let (command, _) = command.split_once('|').unwrap_or((command, ""));
    // Nothing at all was called yet.
    command != "NULL"
        && !NEVER.contains(&command)
        && idle.is_none_or(|seconds: u64| seconds < UNSURE_TIME.as_secs())
}

/// Connections that are unblocked in one pipeline.
const UNBLOCKED_AT_ONCE: usize = 64;

/// Ends the wait of these connections by an error; answers how many still waited, `None` if this user may not do so. Redis
/// looks at that in the moment that it ends the wait, so no job is lost by it. <https://redis.io/docs/latest/commands/client-unblock/>
pub(crate) async fn unblock(link: &Link, connections: &[u64]) -> Result<Option<u64>> {
    let mut unblocked = 0;
    for connections in connections.chunks(UNBLOCKED_AT_ONCE) {
        let mut pipeline = Pipeline::new();
        for id in connections {
            pipeline.cmd("CLIENT").arg("UNBLOCK").arg(id).arg("ERROR");
        }
        for answer in link.send_all(&pipeline).await? {
            match permitted(link, "CLIENT UNBLOCK", "+client|unblock", answer)? {
                Some(answer) => unblocked += u64::from(answer == Value::Int(1)),
                None => return Ok(None),
            }
        }
    }
    Ok(Some(unblocked))
}

/// Looks for jobs that foreign workers lost, and puts them back if told to.
pub(crate) async fn sweep(link: &Link, keys: &Keys, recover: bool, max_lost: u32) -> Result<Sweep> {
    let mut sweep = Sweep::default();
    let (mut suspects, mut missing) = (Vec::new(), Vec::new());
    for look in 0..MAX_LOOKS {
        let found = link.run(keys, &FindForeign { more: look > 0 }).await?;
        if found.skipped {
            sweep.skipped = true;
            return Ok(sweep);
        }
        suspects.extend(found.suspects);
        missing.extend(found.missing);
        if !found.more {
            break;
        }
    }
    sweep.removed = end_missing(link, keys, missing).await?;
    if suspects.is_empty() {
        return Ok(sweep);
    }
    sweep.suspects = suspects.len() as u64;
    // After the suspects: whoever marked a job by then was connected by then.
    let Some(connections) = Connections::of_server(link).await? else {
        sweep.blind = true;
        return Ok(sweep);
    };
    sweep.blind = !connections.lasting;
    for suspects in suspects.chunks(CHUNK) {
        let sighted = link
            .run(
                keys,
                &Sight {
                    suspects,
                    connections: &connections,
                    recover,
                    max_lost,
                },
            )
            .await?;
        sweep.lost += sighted.lost;
        sweep.recovered += sighted.recovered;
        sweep.dead += sighted.dead;
    }
    Ok(sweep)
}

/// Gives up those that no foreign worker can have: answers how many.
async fn end_missing(link: &Link, keys: &Keys, missing: Vec<Missing>) -> Result<u64> {
    if missing.is_empty() {
        return Ok(0);
    }
    // One list alone cannot tell a producer from a worker that puts while it works, so connections that are unsure do not count: most
    // are producers, and their jobs would wait for an hour.
    let workers = workers(link, keys.queue_db(), &Takers::default()).await?;
    let at_work = workers.is_none_or(|workers| {
        let mut busy = workers.busy.keys();
        busy.any(|address| !workers.unsure.contains(address))
    });
    let time = if at_work {
        MISSING_TIME_AT_WORK
    } else {
        MISSING_TIME
    };
    let removed = missing.into_iter().filter(|missing| missing.time >= time);
    let removed: Vec<_> = removed.map(|missing| missing.id).collect();
    let mut ended = 0;
    for ids in removed.chunks(CHUNK) {
        ended += link.run(keys, &EndMissing(ids)).await?;
    }
    Ok(ended)
}

/// Who is connected to a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Connections {
    /// The server process; numbers of connections mean something within one only.
    pub(crate) run_id: String,
    /// Whether a connection stays as long as its client does, busy or not.
    pub(crate) lasting: bool,
    by_address: HashMap<IpAddr, Held>,
}

/// The connections of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Held {
    count: usize,
    oldest: u64,
    /// Of those that have lasted for a while.
    newest: u64,
}

impl Connections {
    /// `None` if this user may not ask.
    async fn of_server(link: &Link) -> Result<Option<Self>> {
        // The process first: if the connection is made anew from here on, then the script sees another one.
        let mut pipeline = Pipeline::new();
        pipeline.cmd("INFO").arg("server");
        pipeline.cmd("CONFIG").arg(&["GET", "timeout"]);
        pipeline.cmd("CLIENT").arg("LIST");
        let [info, timeout, clients] = <[_; 3]>::try_from(link.send_all(&pipeline).await?)
            .map_err(|_| Error::Unexpected("not one answer to each question".to_owned()))?;
        let info = reply::text(info?)?;
        // Both, so that both are logged.
        let timeout = permitted(link, "CONFIG GET", "+config|get", timeout)?;
        let clients = permitted(link, "CLIENT LIST", "+client|list", clients)?;
        let (Some(timeout), Some(clients)) = (timeout, clients) else {
            return Ok(None);
        };
        let run_id = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        Ok(Some(Self {
            run_id: run_id.unwrap_or_default().to_owned(),
            // A server without a run_id may be another one each time.
            lasting: run_id.is_some()
                && matches!(reply::array(timeout)?.get(1), Some(Value::BulkString(seconds)) if seconds == b"0"),
            by_address: by_address(&reply::text(clients)?),
        }))
    }

    /// The numbers of a worker's oldest connection and of its newest that has lasted; 0 for none.
    pub(crate) fn of(&self, worker: &str) -> (u64, u64) {
        let address = worker.parse::<IpAddr>().map(|address| address.to_canonical());
        let held = address.ok().and_then(|address| self.by_address.get(&address));
        let Held {
            count,
            oldest,
            newest,
        } = held.copied().unwrap_or_default();
        (oldest, if count > CROWD { 0 } else { newest })
    }
}

/// `None` if this user may not run the command, or the server does not have it, as managed servers do; that is logged once.
/// Whatever else fails is an error.
fn permitted(
    link: &Link,
    command: &'static str,
    right: &str,
    answer: Result<Value>,
) -> Result<Option<Value>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(err) if err.is_denial() => {
            if link.is_first_denial(command) {
                tracing::warn!(
                    address = link.address(), %err,
                    "{command} is denied, so foreign workers cannot be followed: grant it (ACL SETUSER <user> {right})"
                );
            }
            Ok(None)
        }
        Err(err) => Err(err),
    }
}

/// What `CLIENT LIST` says: `id=7 addr=10.0.0.9:5321 ... age=12 ...` on a line for each connection. Lines that are
/// not understood (a Unix socket's) are passed over. <https://redis.io/docs/latest/commands/client-list/>
fn by_address(clients: &str) -> HashMap<IpAddr, Held> {
    let mut by_address = HashMap::<IpAddr, Held>::new();
    for (id, address, age) in clients.lines().filter_map(read_line) {
        let held = by_address.entry(address).or_default();
        held.count += 1;
        if held.oldest == 0 || id < held.oldest {
            held.oldest = id;
        }
        if age >= INTERVAL.as_secs() {
            held.newest = held.newest.max(id);
        }
    }
    by_address
}

/// A connection's number, its address, and its age in seconds.
fn read_line(line: &str) -> Option<(u64, IpAddr, u64)> {
    let (host, _port) = field(line, "addr")?.rsplit_once(':')?;
    let address: IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
    Some((
        field(line, "id")?.parse().ok()?,
        address.to_canonical(),
        field(line, "age")?.parse().ok()?,
    ))
}

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = line.split(' ');
    fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AnswerLimit, NewJob, Queue, scripts::Submit, test_server::RedisServer};

    const LIST: &str = "id=3 addr=10.0.0.9:5321 laddr=10.0.0.1:6379 fd=8 name= age=60 idle=0 flags=b db=2 cmd=blpop user=default resp=2
id=5 addr=10.0.0.9:5322 laddr=10.0.0.1:6379 fd=9 name=age=1 age=50 idle=15 flags=N db=3 cmd=hset user=default
id=9 addr=10.0.0.9:5399 laddr=10.0.0.1:6379 fd=9 name= age=2 idle=15 flags=N db=3 cmd=hset user=default
id=11 addr=[::1]:40000 laddr=[::1]:6379 fd=10 name= age=5 idle=0 flags=N db=0 cmd=client|list
id=12 addr=/run/redis.sock:0 laddr=/run/redis.sock:0 fd=11 name= age=9 idle=0 flags=U db=0 cmd=ping
id=13 addr=[::ffff:10.0.0.8]:1 laddr=x fd=12 name= age=9

nonsense
";

    fn connections(list: &str) -> Connections {
        Connections {
            run_id: "a".to_owned(),
            lasting: true,
            by_address: by_address(list),
        }
    }

    #[test]
    fn an_addresss_connections_are_its_oldest_and_its_newest_that_lasted() {
        let connections = connections(LIST);
        assert_eq!(connections.of("10.0.0.9"), (3, 5));
        assert_eq!(connections.of("::1"), (11, 11));
        assert_eq!(connections.of("10.0.0.8"), (13, 13));
    }

    #[test]
    fn what_is_no_address_has_no_connections() {
        for worker in ["10.0.0.7", "python", "", "10.0.0.9:5321"] {
            assert_eq!(connections(LIST).of(worker), (0, 0), "{worker:?}");
        }
    }

    #[test]
    fn an_address_that_many_share_tells_nothing_new() {
        let crowd: String = (1..=65)
            .map(|id| format!("id={id} addr=10.0.0.9:{id} age=9\n"))
            .collect();
        assert_eq!(connections(&crowd).of("10.0.0.9"), (1, 0));
    }

    #[test]
    fn worker_whose_blpop_was_answered_works_and_one_that_is_blocked_in_it_waits() {
        let line = |id: u8, address: &str, flags: &str, db: u8, cmd: &str| {
            format!("id={id} addr={address}:5321 age=60 flags={flags} db={db} cmd={cmd} user=default\n")
        };
        let list = [
            line(1, "10.0.0.1", "b", 2, "blpop"),
            line(2, "10.0.0.2", "N", 2, "blpop"),
            // Three workers of one pod.
            line(3, "10.0.0.3", "b", 2, "blpop"),
            line(4, "10.0.0.3", "N", 2, "blpop"),
            line(8, "10.0.0.3", "N", 2, "blpop"),
            // Its other connection, another database's worker, a worker of ours.
            line(5, "10.0.0.1", "N", 3, "hset"),
            line(6, "10.0.0.6", "N", 5, "blpop"),
            line(7, "10.0.0.7", "b", 2, "blmove"),
        ];
        let address = |address: &str| address.parse().unwrap();
        let expected = ForeignWorkers {
            busy: [(address("10.0.0.2"), 1), (address("10.0.0.3"), 2)].into(),
            waiting: [(address("10.0.0.1"), vec![1])].into(),
            ..ForeignWorkers::default()
        };
        assert_eq!(Takers::default().look(&list.concat(), 2), expected);
    }

    fn seen(takers: &Takers, lines: &[&str]) -> (Vec<(String, u64)>, Vec<String>, Vec<String>) {
        let lines: Vec<_> = lines.iter().map(|line| format!("{line} age=60 db=2\n")).collect();
        let workers = takers.look(&lines.concat(), 2);
        let busy = workers
            .busy
            .iter()
            .map(|(address, jobs)| (address.to_string(), *jobs));
        let waiting = workers.waiting.keys().map(IpAddr::to_string);
        let unsure = workers.unsure.iter().map(IpAddr::to_string);
        (busy.collect(), waiting.collect(), unsure.collect())
    }

    #[test]
    fn worker_that_puts_next_job_while_it_works_is_busy_until_it_waits() {
        let takers = Takers::default();
        let waits = "id=1 addr=10.0.0.1:5 flags=b cmd=blpop idle=1";
        assert_eq!(
            seen(&takers, &[waits]),
            (vec![], vec!["10.0.0.1".to_owned()], vec![])
        );
        // However long ago it called something.
        for last in ["cmd=blpop idle=0", "cmd=rpush idle=0", "cmd=llen idle=90000"] {
            let works = format!("id=1 addr=10.0.0.1:5 flags=N {last}");
            assert_eq!(seen(&takers, &[&works]).0, [("10.0.0.1".to_owned(), 1)], "{last}");
        }
        assert_eq!(seen(&takers, &[waits]).0, []);
        // Its number belongs to somebody else after a restart of the server.
        let other = "id=1 addr=10.0.0.9:7 flags=N cmd=ping idle=0";
        assert_eq!(seen(&takers, &[other]), (vec![], vec![], vec![]));
        let works = "id=1 addr=10.0.0.1:5 flags=N cmd=ping idle=0";
        assert_eq!(seen(&takers, &[works]).0, [], "its end was seen");
    }

    #[test]
    fn worker_never_seen_to_take_counts_as_busy_for_a_while() {
        let takers = Takers::default();
        let puts = |idle: u64| format!("id=1 addr=10.0.0.1:5 flags=N cmd=rpush idle={idle}");
        let expected = (
            vec![("10.0.0.1".to_owned(), 1)],
            vec![],
            vec!["10.0.0.1".to_owned()],
        );
        assert_eq!(seen(&takers, &[&puts(599)]), expected);
        assert_eq!(seen(&takers, &[&puts(600)]), (vec![], vec![], vec![]));
        let waits = "id=2 addr=10.0.0.1:6 flags=b cmd=blpop idle=1";
        let beside = seen(&takers, &[&puts(0), waits]);
        assert_eq!(beside, (vec![], vec!["10.0.0.1".to_owned()], vec![]));
        for watches in ["ping", "info", "client|list", "lpop", "NULL"] {
            let line = format!("id=3 addr=10.0.0.3:5 flags=N cmd={watches} idle=0");
            assert_eq!(seen(&takers, &[&line]).0, [], "{watches}");
        }
    }

    const WORKER: &str = "10.0.0.9";

    /// A job that a foreign worker has, as the first script of a sweep found it; all connections of that worker are gone
    /// for so long that the second one takes it for lost.
    struct Found {
        _redis: RedisServer,
        raw: redis::Connection,
        link: Link,
        keys: Keys,
        suspects: Vec<Suspect>,
        gone: Connections,
    }

    impl Found {
        async fn new() -> Self {
            let redis = RedisServer::start().unwrap();
            let (server, queue) = (redis.server(), Queue::new("queue".parse().unwrap()));
            let address = (server.address.host.as_str(), server.address.port);
            let raw = redis::Client::open(address).unwrap().get_connection().unwrap();
            let (link, keys) = (
                Link::new(&server, queue.queue_db, AnswerLimit::WORK).unwrap(),
                Keys::new(&queue),
            );
            let job = NewJob::new("a", "b");
            let submit = Submit {
                jobs: std::slice::from_ref(&job),
                serializer: queue.serializer,
            };
            link.run(&keys, &submit).await.unwrap();
            let mut found = Self {
                _redis: redis,
                raw,
                suspects: Vec::new(),
                gone: Connections::of_server(&link).await.unwrap().unwrap(),
                link,
                keys,
            };
            found.ask(2, &["LPOP", "hotqueue:queue"]);
            let hash = format!("job.{}", job.id);
            found.ask(3, &["HSET", &hash, "status", "in progress", "worker", WORKER]);
            let suspects = found.link.run(&found.keys, &FindForeign { more: false }).await;
            found.suspects = suspects.unwrap().suspects;

            let mut there = found.gone.clone();
            let held = Held {
                count: 1,
                oldest: 1,
                newest: 1,
            };
            there.by_address = HashMap::from([(WORKER.parse().unwrap(), held)]);
            found.look(&there).await;
            let gone = found.gone.clone();
            found.look(&gone).await;
            let long_ago = "local sighting = cmsgpack.unpack(redis.call('HGET', KEYS[1], ARGV[1]))
                sighting.gone = 1
                redis.call('HSET', KEYS[1], ARGV[1], cmsgpack.pack(sighting))";
            let sightings = "workerpool:queue:sightings";
            found.ask(2, &["EVAL", long_ago, "1", sightings, job.id.as_str()]);
            found
        }

        fn ask(&mut self, db: u32, command: &[&str]) {
            redis::cmd("SELECT").arg(db).query::<()>(&mut self.raw).unwrap();
            let mut cmd = redis::cmd(command[0]);
            cmd.arg(&command[1..]).query::<Value>(&mut self.raw).unwrap();
        }

        /// The second script.
        async fn look(&self, connections: &Connections) -> (u64, u64) {
            let sight = Sight {
                suspects: &self.suspects,
                connections,
                recover: true,
                max_lost: 3,
            };
            let sighted = self.link.run(&self.keys, &sight).await.unwrap();
            (sighted.lost, sighted.recovered)
        }
    }

    #[tokio::test]
    async fn a_job_that_nobody_touches_between_the_scripts_of_a_sweep_is_put_back() {
        let found = Found::new().await;
        assert_eq!(found.look(&found.gone).await, (1, 1));
    }

    #[tokio::test]
    async fn a_job_that_ends_or_changes_hands_between_the_scripts_of_a_sweep_is_left_alone() {
        for (db, command) in [
            (3, &["HSET", "status", "complete"][..]),
            (3, &["HSET", "status", "submitted"]),
            (3, &["HSET", "worker", "10.0.0.10"]),
            (3, &["DEL"]),
            (2, &["ZADD leases", "9000000000000"]),
            (2, &["ZADD delayed", "9000000000000"]),
        ] {
            let mut found = Found::new().await;
            let id = found.suspects[0].id.clone();
            let hash = format!("job.{id}");
            match command[0].split_once(' ') {
                Some((add, key)) => {
                    let key = format!("workerpool:queue:{key}");
                    found.ask(db, &[add, &key, command[1], &id]);
                }
                None => found.ask(db, &[&[command[0], &hash], &command[1..]].concat()),
            }
            assert_eq!(found.look(&found.gone).await, (0, 0), "{command:?}");
        }
    }
}
