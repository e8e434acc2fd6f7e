//! The name of every key. The protocol's page (docs/protocol.md) says what each holds.

use redis::Cmd;

use crate::{Counts, ForeignStatus, Queue};

/// The jobs' hashes are the original's, so their prefix is too; all queues of a jobs database share it.
const JOB_PREFIX: &str = "job.";

/// How many keys every script that writes is given.
const SCRIPT_KEYS: usize = 21;

/// The keys of one queue.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    /// In the order in which the scripts' prelude names them.
    all: [String; SCRIPT_KEYS],
    /// Only the sweep's.
    suspects: [String; 2],
    idempotency: String,
    queue_db: u32,
    jobs_db: u32,
    /// How an item is written, and the words with which other programs end jobs, a line each.
    settings: [String; 2],
}

impl Keys {
    pub(crate) fn new(queue: &Queue) -> Self {
        Self::at(
            queue,
            format!("hotqueue:{}", queue.name),
            format!("workerpool:{}:", queue.name),
        )
    }

    /// Keys of a queue that does not exist, on which a check can try every script. They lie under the real
    /// queue's prefix, so that the same rights are needed.
    pub(crate) fn scratch(queue: &Queue, nonce: &str) -> Self {
        let prefix = format!("workerpool:{}:check:{nonce}:", queue.name);
        Self::at(queue, format!("{prefix}main"), prefix)
    }

    fn at(queue: &Queue, main: String, prefix: String) -> Self {
        let ours = |name: &str| format!("{prefix}{name}");
        Self {
            all: [
                main,
                ours("arrivals"),
                ours("leases"),
                ours("held"),
                ours("holds"),
                ours("delayed"),
                ours("dead"),
                ours("index"),
                ours("workers"),
                ours("beats"),
                ours("claims"),
                ours("quiet"),
                ours("epoch"),
                ours("ticks"),
                ours("counts"),
                ours("records"),
                ours("finished"),
                ours("cancelled"),
                ours("payloads"),
                ours("results"),
                ours("changed"),
            ],
            suspects: [ours("suspects"), ours("sightings")],
            idempotency: ours("idempotency:"),
            queue_db: queue.queue_db,
            jobs_db: queue.jobs_db,
            settings: [
                queue.serializer.as_str().to_owned(),
                queue
                    .final_statuses
                    .iter()
                    .map(ForeignStatus::as_str)
                    .collect::<Vec<_>>()
                    .join("\n"),
            ],
        }
    }

    pub(crate) fn queue_db(&self) -> u32 {
        self.queue_db
    }

    pub(crate) fn main(&self) -> &str {
        &self.all[0]
    }

    pub(crate) fn arrivals(&self) -> &str {
        &self.all[1]
    }

    /// Those whose change changes a reading, as `observe.lua` declares them.
    pub(crate) fn tracked(&self) -> [&str; 6] {
        [
            &self.all[0],
            &self.all[1],
            &self.all[3],
            &self.all[5],
            &self.all[17],
            &self.all[20],
        ]
    }

    /// The head of a call of a script that writes: KEYS, and ARGV 1 to 4.
    pub(crate) fn write_to(&self, cmd: &mut Cmd) {
        cmd.arg(SCRIPT_KEYS).arg(&self.all[..]);
        self.write_places_to(cmd);
    }

    /// The same of a script that is told the queue's settings too, as `settings.lua` reads them: ARGV 5 and 6.
    pub(crate) fn write_with_settings_to(&self, cmd: &mut Cmd) {
        self.write_to(cmd);
        cmd.arg(&self.settings[..]);
    }

    /// The same of a script that also uses the sweep's keys.
    pub(crate) fn write_with_suspects_and_settings_to(&self, cmd: &mut Cmd) {
        self.write_with_suspects_to(cmd);
        cmd.arg(&self.settings[..]);
    }

    /// The head of a call of a script that also uses the sweep's keys.
    pub(crate) fn write_with_suspects_to(&self, cmd: &mut Cmd) {
        cmd.arg(SCRIPT_KEYS + self.suspects.len());
        cmd.arg(&self.all[..]).arg(&self.suspects[..]);
        self.write_places_to(cmd);
    }

    /// The head of a call of `submit.lua`, which stands on four keys.
    pub(crate) fn write_submit_to(&self, cmd: &mut Cmd) {
        let all = &self.all;
        cmd.arg(4).arg(&[&all[0], &all[7], &all[15], &all[18]]);
        self.write_places_to(cmd);
    }

    /// ARGV 1 to 4.
    fn write_places_to(&self, cmd: &mut Cmd) {
        cmd.arg(self.queue_db)
            .arg(self.jobs_db)
            .arg(&self.idempotency)
            .arg(JOB_PREFIX);
    }

    /// The whole of a call of `observe.lua`.
    pub(crate) fn write_observed_to(&self, cmd: &mut Cmd) {
        let tracked = self.tracked();
        cmd.arg(tracked.len()).arg(&tracked[..]);
        cmd.arg(self.queue_db)
            .arg(&self.all[7])
            .arg(&self.all[6])
            .arg(&self.all[14])
            .arg(Counts::NAMES);
    }
}
