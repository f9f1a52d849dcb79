//! A stretch of the history, proved to have no gap: what a leader sends to a learner that is
//! behind.

use std::sync::Arc;

use rookeeper_jute::Zxid;
use rookeeper_jute::mutation::{self, Mutation};

use super::cursor::LogCursor;
use super::follows;
use crate::error::StoreError;
use crate::store::Shared;

/// Reads the transactions after one zxid up to and including another one. Memory is that of the
/// longest record and one read. What is appended meanwhile does not disturb it; files that are
/// purged meanwhile end it with an error, never with a gap.
pub struct History {
    cursor: LogCursor,
    shared: Arc<Shared>,
    last: Zxid,
    through: Zxid,
    has_begun: bool,
}

impl History {
    pub(crate) fn open(
        shared: Arc<Shared>,
        after: Zxid,
        through: Zxid,
    ) -> Result<History, StoreError> {
        let cursor = LogCursor::open(shared.clone(), after.next())?;
        Ok(History { cursor, shared, last: after, through, has_begun: false })
    }

    /// The next transaction with its bytes: header, record, optional digest. `None` once `through`
    /// was delivered.
    ///
    /// # Errors
    /// [`StoreError::LogGap`] where transactions are missing, [`StoreError::HistoryEnds`] where
    /// the logs do not reach `through`; the operating system's.
    pub fn advance(&mut self) -> Result<Option<(Zxid, &[u8])>, StoreError> {
        if self.last >= self.through {
            return Ok(None);
        }
        let (reached, through) = (self.last, self.through);
        let next = self.cursor.advance()?.map(|header| header.zxid);
        let Some(zxid) = next.filter(|zxid| *zxid <= through) else {
            let directory = self.shared.log_dir.clone();
            return Err(StoreError::HistoryEnds { directory, reached, through });
        };
        let is_certain = zxid == reached.next() || std::mem::replace(&mut self.has_begun, true);
        let is_next =
            follows(reached, zxid) && (is_certain || self.cursor.first_follows(reached)?);
        if !is_next && !mutation::is_on(Mutation::DiffOverGap) {
            let (path, offset) = self.cursor.place();
            return Err(StoreError::LogGap { path, offset, last: reached, found: zxid });
        }
        (self.last, self.has_begun) = (zxid, true);
        Ok(Some((zxid, self.cursor.payload())))
    }
}
