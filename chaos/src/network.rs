//! Drops packets between a worker and Redis, by rules of the run's own network namespace.

use std::{net::Ipv4Addr, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use tokio::{process::Command, time::timeout};

use crate::faults::Way;

/// How long iptables may take: it waits for its lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which packets are dropped: those of one worker's connections to Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Drop {
    /// Where this worker, and no other one, reaches Redis.
    pub(crate) address: Ipv4Addr,
    /// Redis' port.
    pub(crate) port: u16,
    /// Which way.
    pub(crate) way: Way,
    /// How many in a hundred.
    pub(crate) percent: u8,
}

impl Drop {
    pub(crate) async fn begin(&self) -> anyhow::Result<()> {
        self.change("-A").await
    }

    pub(crate) async fn end(&self) -> anyhow::Result<()> {
        self.change("-D").await
    }

    async fn change(&self, how: &str) -> anyhow::Result<()> {
        for rule in self.rules() {
            let mut command = Command::new("iptables");
            command
                .args(["-w", how])
                .args(&rule)
                .stdin(Stdio::null())
                .kill_on_drop(true);
            let output = timeout(PATIENCE, command.output())
                .await
                .context("iptables takes too long")?;
            let output = output.context("iptables")?;
            ensure!(
                output.status.success(),
                "iptables {how} {}: {}",
                rule.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// On loopback each packet comes in once, so this chain sees all of them, of both ways.
    fn rules(&self) -> Vec<Vec<String>> {
        let (to, from) = (["-d", "--dport"], ["-s", "--sport"]);
        let ways = match self.way {
            Way::Both => vec![to, from],
            Way::ToRedis => vec![to],
            Way::FromRedis => vec![from],
        };
        let rule = |[address, port]: [&str; 2]| {
            let mut rule = vec!["INPUT".to_owned(), "-p".to_owned(), "tcp".to_owned()];
            rule.extend([
                address.to_owned(),
                self.address.to_string(),
                port.to_owned(),
                self.port.to_string(),
            ]);
            if self.percent < 100 {
                let probability = format!("0.{:02}", self.percent);
                let chance = [
                    "-m",
                    "statistic",
                    "--mode",
                    "random",
                    "--probability",
                    &probability,
                ];
                rule.extend(chance.map(str::to_owned));
            }
            rule.extend(["-j".to_owned(), "DROP".to_owned()]);
            rule
        };
        ways.into_iter().map(rule).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(way: Way, percent: u8) -> Vec<String> {
        let drop = Drop {
            address: Ipv4Addr::new(127, 0, 1, 3),
            port: 6_379,
            way,
            percent,
        };
        drop.rules().into_iter().map(|rule| rule.join(" ")).collect()
    }

    #[test]
    fn one_way_is_one_rule_and_both_are_two() {
        let to = "INPUT -p tcp -d 127.0.1.3 --dport 6379 -j DROP";
        let from = "INPUT -p tcp -s 127.0.1.3 --sport 6379 -j DROP";
        assert_eq!(rules(Way::ToRedis, 100), [to]);
        assert_eq!(rules(Way::FromRedis, 100), [from]);
        assert_eq!(rules(Way::Both, 100), [to, from]);
    }

    #[test]
    fn some_packets_are_a_probability() {
        assert!(rules(Way::ToRedis, 5)[0].contains("--mode random --probability 0.05 -j DROP"));
    }
}
