use redis::{Cmd, Value};

use crate::{Cursor, Error, Result, reply};

/// Where a page begins, as `page_of` (`listing.lua`) is told.
pub(super) fn write_position_to(cmd: &mut Cmd, after: Option<&Cursor>) {
    match after {
        Some(Cursor { at, member }) => cmd.arg(at).arg(member),
        None => cmd.arg("+inf").arg(""),
    };
}

/// Where the next page begins: the first of `rows`.
pub(super) fn read_position(rows: &mut impl Iterator<Item = Value>) -> Result<Option<Cursor>> {
    match rows.next() {
        None => Err(Error::Unexpected("an empty page".to_owned())),
        Some(Value::Nil) => Ok(None),
        Some(place) => {
            let [at, member] = reply::fields(place)?;
            Ok(Some(Cursor {
                at: reply::score(at)?.unwrap_or_default(),
                member: reply::bytes(member)?,
            }))
        }
    }
}
