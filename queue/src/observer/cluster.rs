//! Queues in a Redis Cluster: each is read at the node that has its keys, over a connection that tells of its changes as a
//! single server's does.
//!
//! Where a queue was last read, it is read again. A node that has no longer the slot says who has it; after one that is gone, the
//! others are asked, until a replica has taken its place.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redis::Cmd;
use tokio::task::JoinSet;

use super::{Reading, Subject, changes::Dirty, node::Node, subject::Question};
use crate::{
    Address, Error, Result, Server,
    connect::{NO_CLUSTER, Nodes, named},
};

/// A queue is followed over no more nodes than this in one reading.
const MOST_NODES: usize = 4;

#[derive(Debug)]
pub(super) struct Cluster {
    server: Server,
    nodes: Nodes,
    dirty: Arc<Dirty>,
    routes: Mutex<Routes>,
}

#[derive(Debug, Default)]
struct Routes {
    /// The nodes at which queues were last read.
    homes: HashMap<Subject, Address>,
    /// A connection to each of them.
    nodes: HashMap<Address, Arc<Node>>,
}

/// A queue on the way to its reading.
struct Search<'a> {
    subject: &'a Subject,
    /// Where to read it next, if that is known.
    home: Option<Address>,
    /// Where it could not be read.
    gone: Option<Address>,
    /// What it has come to so far.
    reading: Option<Result<Reading>>,
    ended: bool,
}

impl Cluster {
    /// Connects nothing yet.
    pub(super) fn new(server: &Server, dirty: &Arc<Dirty>) -> Result<Self> {
        let cluster = Self {
            server: server.clone(),
            nodes: Nodes::new(server),
            dirty: Arc::clone(dirty),
            routes: Mutex::default(),
        };
        if cluster.known_nodes().is_empty() {
            return Err(Error::Config(
                "a Redis Cluster needs the address of at least one node".to_owned(),
            ));
        }
        Ok(cluster)
    }

    /// Reads each queue at its node and arms it; all nodes at once.
    pub(super) async fn read_all(&self, subjects: &[Subject]) -> Vec<Result<Reading>> {
        let mut searches: Vec<_> = subjects.iter().map(|subject| self.begin(subject)).collect();
        for _ in 0..MOST_NODES {
            self.find_homes(&mut searches).await;
            self.read_at_homes(&mut searches).await;
            if searches.iter().all(|search| search.ended) {
                break;
            }
        }
        self.remember(&searches);
        let lost = || Err(Error::SlotUnavailable("each node names another".to_owned()));
        let readings = searches.into_iter().map(|search| search.reading);
        readings.map(|reading| reading.unwrap_or_else(lost)).collect()
    }

    pub(super) fn forget(&self, subject: &Subject) {
        let mut routes = self.routes();
        routes.homes.remove(subject);
        routes.drop_idle_nodes();
    }

    fn begin<'a>(&self, subject: &'a Subject) -> Search<'a> {
        let own = subject.own().is_some();
        Search {
            subject,
            home: self.routes().homes.get(subject).cloned(),
            gone: None,
            reading: own.then(|| Err(Error::Config(NO_CLUSTER.to_owned()))),
            ended: own,
        }
    }

    /// Asks for those of which it is not known who has them.
    async fn find_homes(&self, searches: &mut [Search<'_>]) {
        let mut lost: Vec<_> = searches
            .iter_mut()
            .filter(|search| !search.ended && search.home.is_none())
            .collect();
        if lost.is_empty() {
            return;
        }
        let questions: Vec<Cmd> = lost
            .iter()
            .map(|search| Question::about(search.subject).command())
            .collect();
        let owners = self.nodes.owners(&self.known_nodes(), &questions).await;
        for (search, owner) in lost.iter_mut().zip(owners) {
            search.found(owner);
        }
    }

    async fn read_at_homes(&self, searches: &mut [Search<'_>]) {
        let mut reading = JoinSet::new();
        for (home, places) in by_home(searches) {
            let node = match self.node(&home) {
                Ok(node) => node,
                Err(err) => {
                    places
                        .iter()
                        .for_each(|&place| searches[place].end(Err(err.clone())));
                    continue;
                }
            };
            let subjects: Vec<_> = places
                .iter()
                .map(|&place| searches[place].subject.clone())
                .collect();
            reading.spawn(async move { (places, home, node.read_all(&subjects).await) });
        }
        // Nobody cancels them, so else the runtime is shutting down.
        while let Some(Ok((places, home, readings))) = reading.join_next().await {
            for (place, reading) in places.into_iter().zip(readings) {
                self.take_in(&mut searches[place], &home, reading).await;
            }
        }
    }

    async fn take_in(&self, search: &mut Search<'_>, home: &Address, reading: Result<Reading>) {
        match reading {
            Err(Error::Redirected {
                to, asking: false, ..
            }) => match named(&to, home) {
                Ok(owner) => search.home = Some(owner),
                Err(err) => search.end(Err(err)),
            },
            Err(Error::Redirected { to, .. }) => search.end(self.ask(search.subject, &to, home).await),
            Err(err) if may_be_elsewhere(&err) => {
                search.gone = search.home.take();
                search.reading = Some(Err(err));
            }
            reading => search.end(reading),
        }
    }

    /// Reads a queue whose slot moves, at the node that has its keys already. Nobody tells of changes there: the slot is not that
    /// node's yet.
    async fn ask(&self, subject: &Subject, to: &str, by: &Address) -> Result<Reading> {
        let (node, question) = (named(to, by)?, Question::about(subject));
        let answer = self
            .nodes
            .ask(&node, question.script(), &question.command())
            .await?;
        question.understand(answer, &node.to_string(), false)
    }

    /// Those that were named, and those that queues were found at.
    fn known_nodes(&self) -> Vec<Address> {
        let named = self.server.cluster.iter().flat_map(|cluster| &cluster.addresses);
        let routes = self.routes();
        let known: HashSet<_> = named.chain(routes.nodes.keys()).collect();
        known.into_iter().cloned().collect()
    }

    fn node(&self, address: &Address) -> Result<Arc<Node>> {
        let mut routes = self.routes();
        if let Some(node) = routes.nodes.get(address) {
            return Ok(Arc::clone(node));
        }
        let node = Node::new(&self.server.node(address), &self.dirty)?;
        routes.nodes.insert(address.clone(), Arc::clone(&node));
        Ok(node)
    }

    fn remember(&self, searches: &[Search<'_>]) {
        let mut routes = self.routes();
        let mut moved = false;
        for Search { subject, home, .. } in searches {
            if routes.homes.get(*subject) == home.as_ref() {
                continue;
            }
            moved = true;
            match home {
                Some(home) => routes.homes.insert((*subject).clone(), home.clone()),
                None => routes.homes.remove(*subject),
            };
        }
        if moved {
            routes.drop_idle_nodes();
        }
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Routes {
    fn drop_idle_nodes(&mut self) {
        let homes: HashSet<_> = self.homes.values().collect();
        self.nodes.retain(|address, _| homes.contains(address));
    }
}

impl Search<'_> {
    fn end(&mut self, reading: Result<Reading>) {
        self.reading = Some(reading);
        self.ended = true;
    }

    /// Takes in who has the keys. If that is who is gone, nobody has taken its place yet.
    fn found(&mut self, owner: Result<Address>) {
        match owner {
            Ok(owner) => {
                self.ended = self.gone.as_ref() == Some(&owner);
                self.home = Some(owner);
            }
            Err(err) => {
                self.ended = true;
                // What was wrong with the node that had the keys says more.
                self.reading.get_or_insert(Err(err));
            }
        }
    }
}

/// The places of those that are to be read, by where.
fn by_home(searches: &[Search<'_>]) -> HashMap<Address, Vec<usize>> {
    let mut homes: HashMap<_, Vec<_>> = HashMap::new();
    for (place, search) in searches.iter().enumerate() {
        if let Some(home) = search.home.as_ref().filter(|_| !search.ended) {
            homes.entry(home.clone()).or_default().push(place);
        }
    }
    homes
}

/// Whether another node may have what this one could not give.
fn may_be_elsewhere(err: &Error) -> bool {
    matches!(
        err,
        Error::Unreachable { .. }
            | Error::Timeout { .. }
            | Error::Disconnected { .. }
            | Error::NotMaster { .. }
            | Error::ReadOnly(_)
            | Error::Loading
            | Error::SlotUnavailable(_)
    )
}
