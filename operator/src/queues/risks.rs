//! What puts the data at risk: asked when a server is first met, when it was restarted, and from time to time.

use std::time::{Duration, Instant};

use queue::{Result, Risk, Server};

/// How often to ask: who runs the server may set it up anew while it runs.
const ASK_EVERY: Duration = Duration::from_secs(300);
/// The same while it cannot be asked.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// What is known of a server's risks, and when to ask again.
#[derive(Debug)]
pub(super) struct Risks {
    /// The last answer; stays as it is while the server is away.
    pub(super) known: Option<Result<Vec<Risk>>>,
    /// When to ask, or to ask again if one is under way; `None` if nothing is planned beyond that one.
    next: Option<Instant>,
    under_way: bool,
}

impl Risks {
    /// To be asked at `at`.
    pub(super) fn asked_first(at: Instant) -> Self {
        Self {
            known: None,
            next: Some(at),
            under_way: false,
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.next.filter(|_| !self.under_way)
    }

    /// Whether it is time to ask. If so, it is under way from now on.
    pub(super) fn start(&mut self, now: Instant) -> bool {
        let due = self.next().is_some_and(|next| next <= now);
        if due {
            self.next = None;
            self.under_way = true;
        }
        due
    }

    /// The server is another one now: so may be what an answer under way speaks of.
    pub(super) fn ask_anew(&mut self, now: Instant) {
        self.next = Some(now);
    }

    /// Takes an answer in; tells whether there is something to say. A server that cannot be reached says nothing of its
    /// data, and is seen elsewhere.
    pub(super) fn take_in(&mut self, answer: Result<Vec<Risk>>, now: Instant) -> bool {
        let away = matches!(
            answer,
            Err(queue::Error::Unreachable { .. }
                | queue::Error::Timeout { .. }
                | queue::Error::Disconnected { .. }
                | queue::Error::Loading)
        );
        self.under_way = false;
        let usual = now + if answer.is_ok() { ASK_EVERY } else { ASK_AGAIN };
        self.next.get_or_insert(usual);
        let news = !away && self.known.as_ref() != Some(&answer);
        if news {
            self.known = Some(answer);
        }
        news
    }
}

/// Asks, over a connection of its own that ends at once: it is needed too seldom to be kept.
pub(super) async fn ask(server: Server) -> Result<Vec<Risk>> {
    if server.cluster.is_some() {
        return Err(queue::Error::Config(
            "the nodes of a Redis Cluster are not asked how they keep their data".to_owned(),
        ));
    }
    queue::risks_of(&server).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_away_keeps_what_is_known_of_it() {
        let start = Instant::now();
        let mut risks = Risks::asked_first(start);
        assert!(risks.start(start));
        assert!(!risks.start(start), "one question at a time");
        assert!(risks.take_in(Ok(Vec::new()), start));
        assert!(!risks.start(start));

        let later = start + ASK_EVERY;
        assert!(risks.start(later));
        assert!(!risks.take_in(Err(queue::Error::Loading), later));
        assert_eq!(risks.known, Some(Ok(Vec::new())));
        assert!(risks.start(later + ASK_AGAIN), "and is asked again soon");
    }

    #[test]
    fn a_server_that_becomes_another_one_while_it_is_asked_is_asked_again() {
        let start = Instant::now();
        let mut risks = Risks::asked_first(start);
        assert!(risks.start(start));
        risks.ask_anew(start);
        assert!(!risks.start(start), "one question at a time");
        risks.take_in(Ok(Vec::new()), start);
        assert!(risks.start(start));
    }
}
