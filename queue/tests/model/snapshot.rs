//! All that Redis holds of the queue, at one moment.

use std::collections::{BTreeMap, BTreeSet};

use redis::{Connection, Value};

#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Snapshot {
    /// The ids on main and arrivals, each as often as it lies there.
    pub(crate) waiting: Vec<String>,
    pub(crate) leases: BTreeMap<String, i64>,
    pub(crate) held: i64,
    pub(crate) holds: BTreeMap<String, i64>,
    pub(crate) delayed: BTreeSet<String>,
    pub(crate) dead: BTreeSet<String>,
    pub(crate) finished: BTreeSet<String>,
    pub(crate) cancelled: BTreeSet<String>,
    pub(crate) records: BTreeMap<String, Record>,
    pub(crate) payloads: BTreeMap<String, String>,
    /// How each job's result begins, and the jobs of which more of it lies apart.
    pub(crate) results: BTreeMap<String, String>,
    pub(crate) long_results: BTreeSet<String>,
    pub(crate) changed: BTreeSet<String>,
    /// Each hash on the jobs database, by the job's id.
    pub(crate) hashes: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Record {
    pub(crate) token: Option<String>,
    pub(crate) done: Option<String>,
    pub(crate) ended: Option<String>,
    pub(crate) holder: Option<String>,
    pub(crate) attempts: i64,
    pub(crate) failures: i64,
    pub(crate) lost: i64,
    pub(crate) has_payload: bool,
    pub(crate) watched: bool,
    /// The percent of its progress; none without any.
    pub(crate) progress: Option<i64>,
}

const READ_RECORDS: &str = r"
    local rows = {}
    local all = redis.call('HGETALL', KEYS[1])
    for i = 1, #all, 2 do
        local record = cmsgpack.unpack(all[i + 1])
        rows[#rows + 1] = { all[i], record.token or '', record.done or '', record.ended or '',
            record.holder or '', record.attempts or 0, record.failures or 0, record.lost or 0,
            record.payload and 1 or 0, record.watched and 1 or 0, record.progress and record.progress[1] or -1 }
    end
    return rows";

const READ_RESULTS: &str = r"
    local rows = {}
    local all = redis.call('HGETALL', KEYS[1])
    for i = 1, #all, 2 do
        local long = string.sub(all[i], -1) == '\n'
        rows[#rows + 1] = { all[i], long and '' or cmsgpack.unpack(all[i + 1])[3] }
    end
    return rows";

type Row = (
    String,
    String,
    String,
    String,
    String,
    i64,
    i64,
    i64,
    bool,
    bool,
    i64,
);

impl Snapshot {
    pub(crate) fn take(raw: &mut Connection) -> Self {
        select(raw, 2);
        let set = |raw: &mut Connection, key: &str| -> BTreeSet<String> {
            ask(raw, &["ZRANGE", &ours(key), "0", "-1"])
        };
        let mut waiting: Vec<Vec<u8>> = ask(raw, &["LRANGE", &ours("arrivals"), "0", "-1"]);
        waiting.extend(ask::<Vec<Vec<u8>>>(raw, &["LRANGE", "hotqueue:queue", "0", "-1"]));
        let records: Vec<Row> = ask(raw, &["EVAL", READ_RECORDS, "1", &ours("records")]);
        let results: Vec<(String, String)> = ask(raw, &["EVAL", READ_RESULTS, "1", &ours("results")]);
        let (long_results, results): (Vec<_>, Vec<_>) =
            results.into_iter().partition(|(id, _)| id.ends_with('\n'));
        let long_results = long_results.into_iter().map(|(id, _)| id.trim_end().to_owned());
        let some = |text: String| (!text.is_empty()).then_some(text);
        let mut snapshot = Self {
            waiting: waiting
                .iter()
                .filter_map(|item| queue::item::read(item))
                .map(|id| id.to_string())
                .collect(),
            leases: ask(raw, &["ZRANGE", &ours("leases"), "0", "-1", "WITHSCORES"]),
            held: ask::<Option<i64>>(raw, &["GET", &ours("held")]).unwrap_or(0),
            holds: ask(raw, &["HGETALL", &ours("holds")]),
            delayed: set(raw, "delayed"),
            dead: set(raw, "dead"),
            finished: set(raw, "finished"),
            cancelled: ask(raw, &["SMEMBERS", &ours("cancelled")]),
            records: records
                .into_iter()
                .map(|row| {
                    let (
                        id,
                        token,
                        done,
                        ended,
                        holder,
                        attempts,
                        failures,
                        lost,
                        payload,
                        watched,
                        progress,
                    ) = row;
                    let record = Record {
                        token: some(token),
                        done: some(done),
                        ended: some(ended),
                        holder: some(holder),
                        attempts,
                        failures,
                        lost,
                        has_payload: payload,
                        watched,
                        progress: (progress >= 0).then_some(progress),
                    };
                    (id, record)
                })
                .collect(),
            payloads: ask(raw, &["HGETALL", &ours("payloads")]),
            results: results.into_iter().collect(),
            long_results: long_results.collect(),
            changed: ask(raw, &["SMEMBERS", &ours("changed")]),
            hashes: BTreeMap::new(),
        };
        select(raw, 3);
        for key in ask::<Vec<String>>(raw, &["KEYS", "*"]) {
            let id = key.strip_prefix("job.").unwrap_or(&key).to_owned();
            snapshot.hashes.insert(id, ask(raw, &["HGETALL", &key]));
        }
        snapshot
    }

    pub(crate) fn status(&self, id: &str) -> Option<&str> {
        self.hashes.get(id)?.get("status").map(String::as_str)
    }

    /// Whether there is more than what a foreign worker writes.
    pub(crate) fn is_job(&self, id: &str) -> bool {
        self.hashes.get(id).is_some_and(|hash| hash.contains_key("id"))
    }

    pub(crate) fn is_terminal(&self, id: &str) -> bool {
        matches!(self.status(id), Some("complete" | "failed" | "cancelled"))
    }

    pub(crate) fn waits(&self, id: &str) -> bool {
        self.waiting.iter().any(|waiting| waiting == id)
    }
}

pub(crate) fn ours(key: &str) -> String {
    format!("workerpool:queue:{key}")
}

pub(crate) fn select(raw: &mut Connection, db: u32) {
    ask::<Value>(raw, &["SELECT", &db.to_string()]);
}

pub(crate) fn ask<T: redis::FromRedisValue>(raw: &mut Connection, command: &[&str]) -> T {
    redis::cmd(command[0]).arg(&command[1..]).query(raw).unwrap()
}
