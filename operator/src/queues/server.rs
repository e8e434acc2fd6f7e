//! The task of one server: reads what changed, polls what did not, runs errands.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use queue::{Change, Changes, Drainer, Observer, Queue, Reading, Risk, Server, Subject};
use telemetry::Panicked;
use tokio::{sync::mpsc, time::sleep_until};

use super::{
    Chores,
    board::Board,
    errand::{self, Errand, Marks},
    followed::{Followed, POLL_BUSY, POLL_IDLE, can_be_ticked, next_poll, retry},
    foreign::{self, Connected, Denied},
    risks::{self, Risks},
};
use crate::{PoolRef, error, foreign::Addresses, leader::Leadership, schedule::Schedule};

/// Queues read at once.
const BATCH: usize = 256;
/// What a read costs the server's budget: 5,000 reads a second are some percent of what one Redis can do.
const COST: Duration = Duration::from_micros(200);
/// Between two ticks of a queue.
const TICKS_APART: Duration = Duration::from_secs(1);
/// Between two ticks of a queue that has nothing to move: jobs whose retention ends go so much later at most.
const PURGES_APART: Duration = Duration::from_secs(300);
/// The same where foreign workers may lose jobs, which no reading shows.
const SWEEPS_APART: Duration = Duration::from_secs(5);
/// The connection for errands is closed after so long without one.
const DRAINER_IDLE: Duration = Duration::from_secs(60);

/// The wait after the first panic of a task; it doubles with each.
const FIRST_RESTART: Duration = Duration::from_millis(500);
/// The longest wait.
const LAST_RESTART: Duration = Duration::from_secs(60);
/// A task that went well for so long begins with the shortest wait again.
const RESTARTS_FORGOTTEN: Duration = Duration::from_secs(300);

/// So many addresses of foreign workers are remembered as logged.
const MOST_UNSURE: usize = 1_000;

/// What the task is told.
#[derive(Debug)]
pub(super) enum Command {
    Follow(Subscription),
    Leave {
        pool: PoolRef,
        subjects: Vec<Subject>,
    },
    Run {
        pool: PoolRef,
        queues: Vec<Queue>,
        errand: Errand,
    },
}

/// The queues that a pool follows on this server.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) pool: PoolRef,
    pub(super) subjects: Vec<Subject>,
    pub(super) chores: Option<Chores>,
    pub(super) foreign: Option<Arc<Addresses>>,
}

/// What was under way and has ended.
enum Done {
    Read(Vec<(Subject, queue::Result<Reading>)>, Connected),
    Marked(PoolRef, Box<queue::Result<Marks>>),
    /// Marks were made to last, or lifted: nobody waits for that.
    MarksChanged,
    Ticked(Queue),
    Risks(queue::Result<Vec<Risk>>),
}

pub(super) struct ServerTask {
    server: Server,
    board: Arc<Board>,
    leadership: Leadership,
    observer: Observer,
    changes: Changes,
    /// Made when there is something to do, dropped when there has not been for a while.
    drainer: Option<(Drainer, Instant)>,
    followed: HashMap<Subject, Followed>,
    reads: Schedule<Subject>,
    ticks: Schedule<Queue>,
    risks: Risks,
    /// Polls fall due together at moments counted from then.
    since: Instant,
    /// What it was said of foreign workers that this user may not do.
    foreign_denied: Option<Denied>,
    /// Why foreign workers could not be followed at the last reading.
    foreign_failure: Option<queue::Error>,
    /// Addresses of foreign workers that were logged as perhaps busy.
    foreign_unsure: BTreeSet<IpAddr>,
    /// The process that the last reading came from.
    run_id: Option<String>,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    reading: bool,
    /// The budget allows no read before.
    next_read: Instant,
}

/// Starts the task of a server; it ends when the sender is dropped. What panics in it is an error of this server's queues alone, and
/// the task is restarted.
pub(super) fn spawn(
    server: &Server,
    board: Arc<Board>,
    leadership: Leadership,
) -> queue::Result<mpsc::UnboundedSender<Command>> {
    let mut task = ServerTask::new(server, &board, &leadership)?;
    let (sender, mut commands) = mpsc::unbounded_channel();
    let server = server.clone();
    tokio::spawn(async move {
        let mut subscriptions = Subscriptions::default();
        let mut restarts = Restarts::default();
        loop {
            let run = task.run(&mut commands, &mut subscriptions);
            let Err(panicked) = telemetry::catch_panic("server", run).await else {
                return;
            };
            let pending = subscriptions.record_pending(&mut commands);
            subscriptions.reset(&board, &panicked);
            task = loop {
                let wait = restarts.wait(Instant::now());
                tracing::error!(server = %server.address, %panicked, ?wait, "the task of this Redis panicked and is restarted");
                tokio::time::sleep(wait).await;
                match ServerTask::new(&server, &board, &leadership) {
                    Ok(task) => break task.with(&subscriptions, pending),
                    Err(error) => tracing::error!(server = %server.address, %error, "no connection"),
                }
            };
        }
    });
    Ok(sender)
}

/// The queues that each pool follows on a server. They outlive the task.
#[derive(Debug, Default)]
struct Subscriptions(HashMap<PoolRef, Subscription>);

impl Subscriptions {
    fn record(&mut self, command: &Command) {
        match command {
            Command::Follow(follow) => {
                self.0.insert(follow.pool.clone(), follow.clone());
            }
            Command::Leave { pool, .. } => {
                self.0.remove(pool);
            }
            Command::Run { .. } => {}
        }
    }

    /// Records the commands that the task has not received yet, and returns those that are still to be run.
    fn record_pending(&mut self, commands: &mut mpsc::UnboundedReceiver<Command>) -> Vec<Command> {
        let mut pending = Vec::new();
        while let Ok(command) = commands.try_recv() {
            self.record(&command);
            if matches!(command, Command::Run { .. }) {
                pending.push(command);
            }
        }
        pending
    }

    /// Drops all readings: the panic may have left them half updated.
    fn reset(&self, board: &Board, panicked: &Panicked) {
        let error = error::queue_error(panicked);
        for follow in self.0.values() {
            board.reset(&follow.pool, &follow.subjects, &error);
        }
    }
}

/// How long to wait before the task is restarted.
#[derive(Debug, Default)]
struct Restarts {
    count: u32,
    last: Option<Instant>,
}

impl Restarts {
    fn wait(&mut self, now: Instant) -> Duration {
        if self.last.is_some_and(|last| now > last + RESTARTS_FORGOTTEN) {
            self.count = 0;
        }
        let wait = FIRST_RESTART.saturating_mul(2_u32.saturating_pow(self.count));
        self.count = self.count.saturating_add(1);
        self.last = Some(now);
        wait.min(LAST_RESTART)
    }
}

impl ServerTask {
    fn new(server: &Server, board: &Arc<Board>, leadership: &Leadership) -> queue::Result<Self> {
        let (observer, changes) = Observer::new(server)?;
        Ok(Self {
            server: server.clone(),
            board: Arc::clone(board),
            leadership: leadership.clone(),
            observer,
            changes,
            drainer: None,
            followed: HashMap::new(),
            reads: Schedule::default(),
            ticks: Schedule::default(),
            risks: Risks::asked_first(Instant::now()),
            since: Instant::now(),
            foreign_denied: None,
            foreign_failure: None,
            foreign_unsure: BTreeSet::new(),
            run_id: None,
            under_way: FuturesUnordered::new(),
            reading: false,
            next_read: Instant::now(),
        })
    }

    /// Follows these queues, and runs the commands that the task before this one had not received.
    fn with(mut self, subscriptions: &Subscriptions, pending: Vec<Command>) -> Self {
        for follow in subscriptions.0.values() {
            self.follow_all(follow);
        }
        for command in pending {
            self.obey(command);
        }
        self
    }

    async fn run(
        mut self,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        subscriptions: &mut Subscriptions,
    ) {
        loop {
            let wake = self.next_wake();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => {
                        subscriptions.record(&command);
                        self.obey(command);
                    }
                    None => return,
                },
                Some(change) = self.changes.next() => self.hear(change),
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => self.take_in(done),
                () = sleep_until(wake.into()) => {}
            }
            self.start_what_is_due();
        }
    }

    fn next_wake(&self) -> Instant {
        let read = self
            .reads
            .next()
            .filter(|_| !self.reading)
            .map(|at| at.max(self.next_read));
        let rest = self.drainer.as_ref().map(|(_, used)| *used + DRAINER_IDLE);
        [read, self.ticks.next(), self.risks.next(), rest]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + POLL_IDLE)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Follow(follow) => self.follow_all(&follow),
            Command::Leave { pool, subjects } => {
                for subject in &subjects {
                    self.leave(&pool, subject);
                }
            }
            Command::Run { pool, queues, errand } => self.start_errand(pool, queues, errand),
        }
    }

    fn follow_all(&mut self, follow: &Subscription) {
        for subject in &follow.subjects {
            let own = subject.own().is_some();
            let foreign = follow.foreign.clone().filter(|_| own);
            self.follow(&follow.pool, subject, follow.chores.filter(|_| own), foreign);
        }
        if let Some(risks) = &self.risks.known {
            self.board.found_risks(&follow.pool, risks);
        }
    }

    fn follow(
        &mut self,
        pool: &PoolRef,
        subject: &Subject,
        chores: Option<Chores>,
        foreign: Option<Arc<Addresses>>,
    ) {
        let now = Instant::now();
        let followed = self.followed.entry(subject.clone()).or_default();
        if !followed.pools.contains(pool) {
            followed.pools.push(pool.clone());
        }
        followed.chores = chores;
        followed.foreign = foreign;
        if let Some(queue) = subject.own() {
            if chores.is_some() {
                self.ticks.no_later(queue, now);
            } else {
                self.ticks.remove(queue);
            }
        }
        self.reads.no_later(subject, now);
    }

    fn leave(&mut self, pool: &PoolRef, subject: &Subject) {
        let Some(followed) = self.followed.get_mut(subject) else {
            return;
        };
        followed.pools.retain(|other| other != pool);
        if !followed.pools.is_empty() {
            return;
        }
        self.followed.remove(subject);
        self.reads.remove(subject);
        if let Some(queue) = subject.own() {
            self.ticks.remove(queue);
        }
        self.observer.forget(subject);
    }

    fn hear(&mut self, change: Change) {
        let now = Instant::now();
        let subject = match change {
            Change::Queue(queue) => Subject::Own(queue),
            Change::Foreign(queue) => Subject::Foreign(queue),
            Change::All => {
                for subject in self.followed.keys() {
                    self.reads.no_later(subject, now);
                }
                return;
            }
        };
        if let Some(followed) = self.followed.get_mut(&subject) {
            followed.changed_at.get_or_insert(now);
            let apart = followed.reads_apart();
            let at = followed.read_at.map_or(now, |last| now.max(last + apart));
            self.reads.no_later(&subject, at);
        }
    }

    fn start_what_is_due(&mut self) {
        #[cfg(test)]
        super::tests::panic_if_asked(&self.server);
        let now = Instant::now();
        if !self.reading && now >= self.next_read {
            let due = self.reads.take_due(now, BATCH);
            if !due.is_empty() {
                self.start_read(due, now);
            }
        }
        for queue in self.ticks.take_due(now, BATCH) {
            self.start_tick(queue, now);
        }
        if self.risks.start(now) {
            let server = self.server.clone();
            self.under_way
                .push(async move { Done::Risks(risks::ask(server).await) }.boxed());
        }
        if self
            .drainer
            .as_ref()
            .is_some_and(|(_, used)| now >= *used + DRAINER_IDLE)
        {
            self.drainer = None;
        }
    }

    fn start_read(&mut self, subjects: Vec<Subject>, now: Instant) {
        for subject in &subjects {
            if let Some(followed) = self.followed.get_mut(subject) {
                followed.read_at = Some(now);
                followed.reading_changed_at = followed.changed_at.take();
            }
        }
        self.reading = true;
        self.next_read = now + COST.saturating_mul(u32::try_from(subjects.len()).unwrap_or(u32::MAX));
        let with_foreign = self.with_foreign(&subjects);
        let drainer = if with_foreign.is_empty() {
            None
        } else {
            self.next_read += foreign::COST;
            // Not over the observer's connection, where each reading must follow what arms it.
            self.drainer(now)
        };
        let observer = self.observer.clone();
        self.under_way.push(
            async move {
                let readings = observer.read_all(&subjects).await;
                let connected = match drainer {
                    Some(drainer) => foreign::look(&drainer, &with_foreign).await,
                    None => Connected::default(),
                };
                let readings = subjects.into_iter().zip(readings).collect();
                Done::Read(readings, connected)
            }
            .boxed(),
        );
    }

    /// The queues among these whose workers may not be ours, and where those are.
    fn with_foreign(&self, subjects: &[Subject]) -> Vec<(Queue, Arc<Addresses>)> {
        let with_foreign = |subject: &Subject| {
            let followed = self.followed.get(subject).filter(|one| one.has_foreign())?;
            Some((subject.own()?.clone(), followed.foreign.clone()?))
        };
        subjects.iter().filter_map(with_foreign).collect()
    }

    fn start_tick(&mut self, queue: Queue, now: Instant) {
        let followed = self.followed.get(&Subject::Own(queue.clone()));
        let chores = followed.and_then(|followed| followed.chores);
        let Some(chores) = chores else { return };
        let leads = self.leadership.term().is_some();
        let Some(drainer) = self.drainer(now).filter(|_| leads) else {
            // A lapse of leadership may be too short for any other task to notice, and nothing else plans the next tick of an idle
            // queue.
            self.ticks.no_later(&queue, now + TICKS_APART);
            return;
        };
        self.under_way.push(
            async move {
                if let Err(error) = errand::do_chores(&drainer, &queue, chores).await {
                    // The reading fails for the same cause, and says so where it is seen.
                    tracing::debug!(queue = %queue.name, %error, "tick failed");
                }
                Done::Ticked(queue)
            }
            .boxed(),
        );
    }

    fn start_errand(&mut self, pool: PoolRef, queues: Vec<Queue>, errand: Errand) {
        let Some(epoch) = self.leadership.epoch() else {
            return;
        };
        match &errand {
            Errand::Mark(_) => self.expect_end_of_marks(&queues, errand::MARK_TIME),
            Errand::Keep { time, .. } => self.expect_end_of_marks(&queues, *time),
            Errand::Unmark(_) => {}
        }
        let Some(drainer) = self.drainer(Instant::now()) else {
            return;
        };
        self.under_way.push(
            async move {
                match errand {
                    Errand::Mark(asked) => {
                        let marks = errand::mark(&drainer, &queues, asked, epoch).await;
                        Done::Marked(pool, Box::new(marks))
                    }
                    Errand::Keep { pods, time } => {
                        if let Err(error) = errand::keep(&drainer, &queues, &pods, epoch, time).await {
                            tracing::warn!(%pool, %error, "marks of pods that end could not be made to last");
                        }
                        Done::MarksChanged
                    }
                    Errand::Unmark(pods) => {
                        if let Err(error) = errand::unmark(&drainer, &queues, &pods, epoch).await {
                            tracing::warn!(%pool, %error, "marks could not be lifted; they end by themselves");
                        }
                        Done::MarksChanged
                    }
                }
            }
            .boxed(),
        );
    }

    fn expect_end_of_marks(&mut self, queues: &[Queue], time: Duration) {
        for queue in queues {
            if let Some(followed) = self.followed.get_mut(&Subject::Own(queue.clone())) {
                followed.marks_end = followed.marks_end.max(Some(Instant::now() + time + TICKS_APART));
                self.plan_tick(queue);
            }
        }
    }

    fn drainer(&mut self, now: Instant) -> Option<Drainer> {
        if self.drainer.is_none() {
            match Drainer::new(&self.server) {
                Ok(drainer) => self.drainer = Some((drainer, now)),
                Err(error) => {
                    tracing::warn!(server = %self.server.address, %error, "no connection for errands");
                }
            }
        }
        let (drainer, used) = self.drainer.as_mut()?;
        *used = now;
        Some(drainer.clone())
    }

    fn take_in(&mut self, done: Done) {
        match done {
            Done::Read(readings, connected) => {
                self.reading = false;
                self.report_foreign(&connected);
                for (subject, reading) in readings {
                    self.take_in_reading(&subject, reading, &connected);
                }
            }
            Done::Marked(pool, marks) => self.board.marked(&pool, *marks),
            Done::MarksChanged => {}
            Done::Ticked(queue) => self.plan_tick(&queue),
            Done::Risks(answer) => self.take_in_risks(answer),
        }
    }

    fn take_in_reading(&mut self, subject: &Subject, reading: queue::Result<Reading>, connected: &Connected) {
        let Some(followed) = self.followed.get_mut(subject) else {
            // Left while it was read, which armed it again.
            self.observer.forget(subject);
            return;
        };
        let changed_at = followed.reading_changed_at.take();
        match reading {
            Ok(reading) => {
                let last = self.run_id.replace(reading.run_id.clone());
                // The nodes of a cluster are many, and are not asked.
                if self.server.cluster.is_none() && last.is_some_and(|last| last != reading.run_id) {
                    self.risks.ask_anew(Instant::now());
                }
                let addresses = followed.foreign.as_ref();
                let at_work = addresses.and_then(|addresses| connected.at_work(subject.own()?, addresses));
                let mut next = next_poll(subject, &reading, self.since);
                if self.server.cluster.is_some() {
                    // An empty queue may go to another node, and nobody tells of what changes there.
                    next = next.min(reading.read_at + POLL_BUSY);
                }
                if at_work.is_some_and(|foreign| foreign.jobs > 0)
                    || followed.has_ending()
                    || connected.failure.is_some()
                {
                    next = next.min(reading.read_at + foreign::POLL);
                }
                self.reads.no_later(subject, next);
                followed.can_be_ticked = can_be_ticked(&reading);
                if let Some(queue) = subject.own()
                    && followed.chores.is_some()
                    && followed.can_be_ticked
                {
                    self.ticks.no_later(queue, reading.read_at + TICKS_APART);
                }
                for pool in &followed.pools {
                    self.board
                        .read(pool, subject, reading.clone(), at_work, changed_at);
                }
            }
            Err(error) => {
                self.reads.no_later(subject, Instant::now() + retry(&error));
                for pool in &followed.pools {
                    self.board.failed(pool, subject, &error);
                }
            }
        }
    }

    /// Logs once what is not known of foreign workers.
    fn report_foreign(&mut self, connected: &Connected) {
        let server = &self.server.address;
        if self.foreign_unsure.len() > MOST_UNSURE {
            self.foreign_unsure.clear();
        }
        for address in &connected.unsure {
            if !self.foreign_unsure.insert(*address) {
                continue;
            }
            tracing::warn!(%server, %address,
                "a foreign worker was not seen to take a job, but is not waiting for one: its pod counts as busy until it waits, \
                 or has called nothing for 10 minutes");
        }
        let failure = connected.failure.as_ref();
        if let Some(error) = failure
            && self.foreign_failure.as_ref().map(queue::Error::kind) != Some(error.kind())
        {
            tracing::warn!(%server, %error, "what foreign workers do cannot be read: what was last seen counts until it can");
        }
        if connected.was_asked() {
            self.foreign_failure = failure.cloned();
        }
        if connected.denied.is_none() || connected.denied == self.foreign_denied {
            return;
        }
        self.foreign_denied = connected.denied;
        match connected.denied {
            Some(Denied::List) => tracing::warn!(%server,
                "CLIENT LIST is denied, so jobs that foreign workers have do not count as running: grant it (ACL SETUSER <user> \
                 +client|list)"),
            Some(Denied::Unblock) => tracing::warn!(%server,
                "CLIENT UNBLOCK is denied, so foreign workers of pods that are to end take jobs until they are killed: grant it (ACL \
                 SETUSER <user> +client|unblock)"),
            None => {}
        }
    }

    fn take_in_risks(&mut self, answer: queue::Result<Vec<Risk>>) {
        if !self.risks.take_in(answer, Instant::now()) {
            return;
        }
        if let Some(risks) = &self.risks.known {
            for pool in self.followed.values().flat_map(|followed| &followed.pools) {
                self.board.found_risks(pool, risks);
            }
        }
    }

    /// Goes on ticking as long as there is something that a tick could move, or sweep out; and seldom after that, for the
    /// jobs whose retention ends.
    fn plan_tick(&mut self, queue: &Queue) {
        let Some(followed) = self.followed.get(&Subject::Own(queue.clone())) else {
            return;
        };
        let Some(chores) = followed.chores else { return };
        let (now, marks_end) = (Instant::now(), followed.marks_end);
        let seldom = if chores.recover_foreign {
            SWEEPS_APART
        } else {
            PURGES_APART
        };
        let next = if followed.can_be_ticked {
            now + TICKS_APART
        } else {
            marks_end
                .filter(|end| *end > now)
                .map_or(now + seldom, |end| end.min(now + seldom))
        };
        self.ticks.no_later(queue, next);
    }
}

#[cfg(test)]
mod tests {
    use queue::Terms;

    use super::*;

    #[tokio::test]
    async fn tick_of_idle_queue_stays_planned_while_nobody_leads() {
        let (board, _wakes) = Board::new();
        let server = Server::new("127.0.0.1:1".parse().unwrap());
        let standby = Leadership::candidate();
        let mut task = ServerTask::new(&server, &Arc::new(board), &standby).unwrap();
        task.follow_all(&Subscription {
            pool: PoolRef::new("pool"),
            subjects: vec![Subject::Own(Queue::new("queue".parse().unwrap()))],
            chores: Some(Chores {
                terms: Terms::default(),
                recover_foreign: false,
            }),
            foreign: None,
        });
        task.start_what_is_due();
        let next = task.ticks.next().expect("a tick is planned");
        assert!(next <= Instant::now() + TICKS_APART);
    }

    #[test]
    fn restart_wait_doubles_and_starts_over_after_five_good_minutes() {
        let (mut restarts, start) = (Restarts::default(), Instant::now());
        let waits: Vec<_> = (0..9).map(|_| restarts.wait(start).as_secs_f64()).collect();
        assert_eq!(waits, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
        let later = start + RESTARTS_FORGOTTEN + Duration::from_secs(1);
        assert_eq!(restarts.wait(later), FIRST_RESTART);
    }
}
