//! A WorkerPool as `kubectl get -o json` shows it, read by path: a test of the public shape shares no types with the product.

use serde_json::Value;

/// One snapshot of a WorkerPool.
#[derive(Clone, Debug)]
pub struct Pool(pub Value);

/// A condition in a pool's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The constant that says why.
    pub reason: String,
    /// The sentence that says why.
    pub message: String,
}

impl Pool {
    /// The value at a JSON pointer (`/spec/replicas`); null where there is none.
    #[must_use]
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// `status.mode`: Queue, Pinned, Paused, Fallback; empty before the operator has spoken.
    #[must_use]
    pub fn mode(&self) -> &str {
        self.at("/status/mode").as_str().unwrap_or_default()
    }

    /// A count in the status, by its field's name.
    #[must_use]
    pub fn count(&self, field: &str) -> Option<i64> {
        self.at("/status").get(field).and_then(Value::as_i64)
    }

    /// The condition of this type, if it is there.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<Condition> {
        let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        let conditions = self.at("/status/conditions").as_array()?;
        conditions
            .iter()
            .find(|condition| condition["type"] == kind)
            .map(|condition| Condition {
                status: text(condition, "status"),
                reason: text(condition, "reason"),
                message: text(condition, "message"),
            })
    }

    /// Whether the condition of this type has this status.
    #[must_use]
    pub fn is(&self, kind: &str, status: &str) -> bool {
        self.condition(kind)
            .is_some_and(|condition| condition.status == status)
    }
}
