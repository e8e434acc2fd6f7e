//! The replicas: each starts, works off one job after another, and goes.

use std::collections::BTreeMap;

/// Which replicas go first when there are to be fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Those that hold no job, and none that holds one.
    OnlyIdle,
    /// Those that are not ready, then the youngest, whatever they do: as a ReplicaSet's controller chooses.
    Youngest,
}

/// What one replica is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Idle,
    Busy,
    /// Busy, and told to go when its job has ended.
    Leaving,
}

/// The replicas that exist, by number; the younger the higher.
#[derive(Debug, Default)]
pub struct Fleet {
    replicas: BTreeMap<usize, State>,
    born: usize,
    busy: u32,
    leaving: u32,
    interrupted: u64,
}

impl Fleet {
    /// Replicas that exist: asked for, or still at their last job.
    #[must_use]
    pub fn alive(&self) -> u32 {
        u32::try_from(self.replicas.len()).unwrap_or(u32::MAX)
    }

    /// Replicas that are asked for.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.alive() - self.leaving
    }

    /// Replicas that hold a job.
    #[must_use]
    pub fn busy(&self) -> u32 {
        self.busy
    }

    /// How often a replica that held a job was told to go. Here it may finish; a program that does not wait for its job, or a
    /// job longer than the pod's grace time, would lose it.
    #[must_use]
    pub fn interrupted(&self) -> u64 {
        self.interrupted
    }

    /// Adds a replica, which is [`Fleet::ready`] some time later.
    pub fn add(&mut self) -> usize {
        let replica = self.born;
        self.born += 1;
        self.replicas.insert(replica, State::Starting);
        replica
    }

    /// The replica can take jobs, unless it went before it could.
    pub fn ready(&mut self, replica: usize) {
        if let Some(state @ State::Starting) = self.replicas.get_mut(&replica) {
            *state = State::Idle;
        }
    }

    /// Gives a job to the oldest idle replica.
    pub fn take(&mut self) -> Option<usize> {
        let (replica, state) = self
            .replicas
            .iter_mut()
            .find(|(_, state)| **state == State::Idle)?;
        *state = State::Busy;
        self.busy += 1;
        Some(*replica)
    }

    /// The replica has finished its job.
    pub fn finished(&mut self, replica: usize) {
        self.busy -= 1;
        match self.replicas.get_mut(&replica) {
            Some(state @ State::Busy) => *state = State::Idle,
            _ => {
                self.replicas.remove(&replica);
                self.leaving -= 1;
            }
        }
    }

    /// Takes one replica away; false if none may go.
    pub fn remove(&mut self, removal: Removal) -> bool {
        let candidates: &[&[State]] = match removal {
            Removal::OnlyIdle => &[&[State::Starting], &[State::Idle]],
            Removal::Youngest => &[&[State::Starting], &[State::Idle, State::Busy]],
        };
        let youngest = |states: &&[State]| {
            let mut all = self.replicas.iter().rev();
            all.find(|(_, state)| states.contains(state))
                .map(|(replica, _)| *replica)
        };
        let Some(victim) = candidates.iter().find_map(youngest) else {
            return false;
        };
        match self.replicas.get_mut(&victim) {
            Some(state @ State::Busy) => {
                *state = State::Leaving;
                self.leaving += 1;
                self.interrupted += 1;
            }
            _ => {
                self.replicas.remove(&victim);
            }
        }
        true
    }
}
