//! A Redis Cluster of three masters, the first of which has a replica.

use std::{
    io,
    process::Command,
    time::{Duration, Instant},
};

use super::{Builder, RedisServer, process::free_port};
use crate::{Cluster, Server};

/// Until all nodes agree.
const ACQUAINTANCE: Duration = Duration::from_secs(30);

/// The first of them has slot 0.
const SLOTS: [[&str; 2]; 3] = [["0", "5460"], ["5461", "10922"], ["10923", "16383"]];

/// The nodes: three masters, and then the replica of the first.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
    /// Of `redis-cli`: login and TLS.
    options: Vec<String>,
    password: Option<String>,
}

impl RedisCluster {
    /// The place of the replica among the nodes; it is the first one's.
    pub const REPLICA: usize = SLOTS.len();

    /// Starts nodes that write no data to disk.
    ///
    /// # Errors
    /// If there is no redis-server, or no redis-cli, or the nodes do not find each other.
    pub fn start() -> io::Result<Self> {
        Self::start_of(&RedisServer::builder())
    }

    /// Starts nodes as `builder` says.
    ///
    /// # Errors
    /// As [`RedisCluster::start`].
    pub fn start_of(builder: &Builder) -> io::Result<Self> {
        let nodes = (0..=Self::REPLICA).map(|_| start_node(builder));
        let cluster = Self {
            nodes: nodes.collect::<io::Result<_>>()?,
            options: options(builder),
            password: builder.master_password.clone(),
        };
        for (node, [first, last]) in SLOTS.iter().enumerate() {
            cluster.call(node, &["CLUSTER", "ADDSLOTSRANGE", first, last])?;
            cluster.call(node, &["CLUSTER", "SET-CONFIG-EPOCH", &(node + 1).to_string()])?;
        }
        for node in 1..cluster.nodes.len() {
            let [port, bus] = [cluster.nodes[node].port(), cluster.bus(node)?].map(|port| port.to_string());
            cluster.call(0, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
        }
        cluster.wait_until(Self::REPLICA, &["CLUSTER", "INFO"], "cluster_known_nodes:4")?;
        cluster.call(Self::REPLICA, &["CLUSTER", "REPLICATE", &cluster.id(0)?])?;
        cluster.wait_until(Self::REPLICA, &["INFO", "replication"], "master_link_status:up")?;
        for node in 0..cluster.nodes.len() {
            cluster.wait_until(node, &["CLUSTER", "INFO"], "cluster_known_nodes:4")?;
            cluster.wait_until(node, &["CLUSTER", "INFO"], "cluster_state:ok")?;
            cluster.wait_until(node, &["CLUSTER", "NODES"], "slave")?;
        }
        Ok(cluster)
    }

    /// How to reach it: all nodes are named.
    pub fn server(&self) -> Server {
        let nodes: Vec<_> = self.nodes.iter().map(RedisServer::server).collect();
        Server {
            cluster: Some(Cluster {
                addresses: nodes.iter().map(|node| node.address.clone()).collect(),
            }),
            ..nodes[0].clone()
        }
    }

    /// A node.
    pub fn node(&mut self, node: usize) -> &mut RedisServer {
        &mut self.nodes[node]
    }

    /// Kills the first node once its replica has all that it has: what was only just written would else be lost, as
    /// replication is asynchronous.
    ///
    /// # Errors
    /// As [`RedisCluster::call`], or if the replica does not follow.
    pub fn kill_master(&mut self) -> io::Result<()> {
        let written = self.replicated(0, "master_repl_offset:")?;
        let deadline = Instant::now() + ACQUAINTANCE;
        while self.replicated(Self::REPLICA, "slave_repl_offset:")? < written {
            if Instant::now() > deadline {
                return Err(io::Error::other("the replica does not follow"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.nodes[0].kill();
        Ok(())
    }

    /// Runs a command at a node; an error that it answers is what it says.
    ///
    /// # Errors
    /// If there is no redis-cli, or the node cannot be reached.
    pub fn call(&self, node: usize, words: &[&str]) -> io::Result<String> {
        self.run(node, &[], words)
    }

    /// Runs a command at whichever node has its key.
    ///
    /// # Errors
    /// As [`RedisCluster::call`].
    pub fn call_anywhere(&self, words: &[&str]) -> io::Result<String> {
        self.run(1, &["-c"], words)
    }

    /// Which node has a key; `None` if none does at the moment.
    pub fn owner(&self, key: &str) -> Option<usize> {
        (0..self.nodes.len()).find(|&node| {
            let answer = self.call(node, &["TYPE", key]);
            answer.is_ok_and(|answer| ["none", "list", "zset", "stream"].contains(&answer.trim()))
        })
    }

    /// Begins to move the slot of `key` to the node `to`, from who has it.
    ///
    /// # Errors
    /// As [`RedisCluster::call`].
    pub fn begin_move(&self, key: &str, from: usize, to: usize) -> io::Result<()> {
        let slot = self.slot(key)?;
        self.call(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)?])?;
        self.call(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)?])?;
        Ok(())
    }

    /// Moves these keys of the slot.
    ///
    /// # Errors
    /// As [`RedisCluster::call`].
    pub fn move_keys(&self, keys: &[&str], from: usize, to: usize) -> io::Result<()> {
        let port = self.nodes[to].port().to_string();
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000"];
        if let Some(password) = &self.password {
            words.extend(["AUTH", password]);
        }
        words.push("KEYS");
        words.extend(keys);
        self.call(from, &words)?;
        Ok(())
    }

    /// Ends the move: the slot is the other's from now on.
    ///
    /// # Errors
    /// As [`RedisCluster::call`].
    pub fn end_move(&self, key: &str, from: usize, to: usize) -> io::Result<()> {
        let (slot, id) = (self.slot(key)?, self.id(to)?);
        for node in [to, from] {
            self.call(node, &["CLUSTER", "SETSLOT", &slot, "NODE", &id])?;
        }
        Ok(())
    }

    fn slot(&self, key: &str) -> io::Result<String> {
        let slot = self.call(1, &["CLUSTER", "KEYSLOT", key])?;
        Ok(slot.trim().to_owned())
    }

    fn id(&self, node: usize) -> io::Result<String> {
        let id = self.call(node, &["CLUSTER", "MYID"])?;
        Ok(id.trim().to_owned())
    }

    /// How many bytes of replication a node has sent, or taken in.
    fn replicated(&self, node: usize, field: &str) -> io::Result<u64> {
        let said = self.call(node, &["INFO", "replication"])?;
        let bytes = said.lines().find_map(|line| line.strip_prefix(field));
        bytes
            .and_then(|bytes| bytes.trim().parse().ok())
            .ok_or_else(|| io::Error::other(format!("no {field} in {said}")))
    }

    fn bus(&self, node: usize) -> io::Result<u16> {
        let configured = self.call(node, &["CONFIG", "GET", "cluster-port"])?;
        let port = configured
            .lines()
            .next_back()
            .and_then(|port| port.trim().parse().ok());
        port.ok_or_else(|| io::Error::other(format!("no port for other nodes: {configured}")))
    }

    fn wait_until(&self, node: usize, words: &[&str], says: &str) -> io::Result<()> {
        let deadline = Instant::now() + ACQUAINTANCE;
        loop {
            let said = self.call(node, words)?;
            if said.contains(says) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!(
                    "the nodes did not find each other: {said}"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn run(&self, node: usize, options: &[&str], words: &[&str]) -> io::Result<String> {
        let output = Command::new("redis-cli")
            .args(["-p", &self.nodes[node].port().to_string()])
            .args(&self.options)
            .args(options)
            .args(words)
            .output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }
}

fn start_node(builder: &Builder) -> io::Result<RedisServer> {
    // The usual one, ten thousand above, may be no port at all.
    let bus = free_port()?.to_string();
    let node = builder.clone().settings(&[
        "--cluster-enabled",
        "yes",
        "--cluster-config-file",
        "nodes.conf",
        // Milliseconds.
        "--cluster-node-timeout",
        "1000",
        "--cluster-port",
        &bus,
    ]);
    let tls = builder.tls.is_some();
    let node = if tls {
        node.settings(&["--tls-cluster", "yes"])
    } else {
        node
    };
    node.start()
}

fn options(builder: &Builder) -> Vec<String> {
    let mut options = Vec::new();
    if let Some(password) = &builder.master_password {
        options.extend(["--no-auth-warning", "-a", password].map(str::to_owned));
    }
    if builder.tls.is_some() {
        options.push("--tls".to_owned());
        for pair in builder.settings.windows(2) {
            let option = match pair[0].as_str() {
                "--tls-ca-cert-file" => "--cacert",
                "--tls-cert-file" => "--cert",
                "--tls-key-file" => "--key",
                _ => continue,
            };
            options.extend([option.to_owned(), pair[1].clone()]);
        }
    }
    options
}
