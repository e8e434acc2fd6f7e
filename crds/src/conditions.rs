//! The types of the conditions in a WorkerPool's status.

/// Accepted, target found, queue readable, and the last decision applied; also when pinned or at zero. False as well while no pod is
/// ready though some are asked for, once something keeps them from it or a minute has passed. The reason is `OK` when it is true.
pub const READY: &str = "Ready";
/// The operator takes the pool as it is: nobody else owns its target or its queue.
pub const ACCEPTED: &str = "Accepted";
/// Redis answers, and answers with a queue.
pub const QUEUE_READABLE: &str = "QueueReadable";
/// Redis is set up so that it keeps what it was given: nothing is evicted, and a restart loses nothing. Ready does not depend
/// on it.
pub const DATA_SAFE: &str = "DataSafe";
/// The queue decides the count; the reason says which rule had the last word.
pub const SCALING_ACTIVE: &str = "ScalingActive";
/// All pods that the workload asks for are ready; when false, the reason says what keeps most of the others from it.
pub const PODS_READY: &str = "PodsReady";
/// As many pods are ready as are desired, less those that the Deployment's strategy lets be missing.
pub const AVAILABLE: &str = "Available";
