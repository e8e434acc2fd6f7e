use std::time::Duration;

use redis::{Cmd, Value};

use super::{Script, Step, claim::millis, script};
use crate::{Error, JobId, Renewal, Result, Token, reply};

script!(RENEW = "prelude.lua", "renew.lua");

/// Renews leases: see `renew.lua`.
pub(crate) struct Renew<'a> {
    pub(crate) held: &'a [(JobId, Token)],
    pub(crate) lease: Duration,
}

impl Step for Renew<'_> {
    type Answer = Renewal;

    fn script(&self) -> &'static Script {
        &RENEW
    }

    fn write_args(&self, cmd: &mut Cmd) {
        cmd.arg(millis(self.lease));
        for (id, token) in self.held {
            cmd.arg(id.as_str()).arg(token.as_str());
        }
    }

    fn read(&self, answer: Value) -> Result<Self::Answer> {
        let mut renewal = Renewal::default();
        let answers = reply::array(answer)?;
        if answers.len() != self.held.len() {
            let told = format!("{} answers to {} renewals", answers.len(), self.held.len());
            return Err(Error::Unexpected(told));
        }
        for (answer, (id, _)) in answers.iter().zip(self.held) {
            match answer {
                Value::Int(0) => {}
                Value::Int(1) => renewal.lost.push(id.clone()),
                Value::Int(2) => renewal.cancelled.push(id.clone()),
                other => return Err(reply::unexpected("no answer to a renewal", other)),
            }
        }
        Ok(renewal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nonce;

    #[test]
    fn unknown_answer_to_renewal_is_an_error() {
        let nonce = Nonce::fresh();
        let held = [(JobId::fresh(), Token::of(&nonce, &nonce))];
        let renew = Renew {
            held: &held,
            lease: Duration::from_secs(1),
        };
        let read = |answers| renew.read(Value::Array(answers));
        assert_eq!(read(vec![Value::Int(0)]), Ok(Renewal::default()));
        assert_eq!(read(vec![Value::Int(1)]).unwrap().lost.len(), 1);
        assert_eq!(read(vec![Value::Int(2)]).unwrap().cancelled.len(), 1);
        for unknown in [vec![Value::Int(3)], vec![Value::Nil], vec![]] {
            assert!(matches!(read(unknown), Err(Error::Unexpected(_))));
        }
    }
}
