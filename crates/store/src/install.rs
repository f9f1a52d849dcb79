//! A leader's history in the place of our own: what a learner does with a SNAP.
//!
//! The snapshot and the log that follows it are written under staged names, durable but for
//! nobody to see. [`Install::commit`] switches to them: one note, once durable, makes that certain
//! (`switch`). Until then the old history is as it was, so that a server that crashes in the
//! middle of synchronising still has everything that it ever acknowledged (ZOOKEEPER-3642, 2872).

use std::path::PathBuf;
use std::sync::Arc;

use rookeeper_jute::Zxid;
use rookeeper_jute::mutation::{self, Mutation};

use crate::error::StoreError;
use crate::log::LogWriter;
use crate::names::{STAGED_PREFIX, snapshot_name};
use crate::purge::make_room_in_quarantine;
use crate::recovery::{LoadedSnapshot, RecoverySink, load_file};
use crate::snapshot::{Entry, SnapshotDigest, SnapshotInfo, SnapshotWriter, info_of};
use crate::store::Shared;
use crate::switch::marker::{Change, Marker};

/// A history that is being staged. Dropped before [`Install::commit`], it leaves nothing behind
/// and the old history as it was.
pub struct Install {
    shared: Arc<Shared>,
    zxid: Zxid,
    /// Until the snapshot is finished.
    writer: Option<SnapshotWriter>,
    /// The length of the snapshot's body, once it is finished.
    body_len: Option<u64>,
    loaded_znodes: Option<u64>,
    committed: bool,
}

impl Install {
    pub(crate) fn begin(shared: Arc<Shared>, zxid: Zxid) -> Result<Install, StoreError> {
        {
            let _files = shared.files();
            let mut state = shared.state();
            assert!(!state.installing, "one change of history at a time");
            state.installing = true;
            state.generation += 1;
        }
        let mut install = Install {
            shared: shared.clone(),
            zxid,
            writer: None,
            body_len: None,
            loaded_znodes: None,
            committed: false,
        };
        install.writer = Some(SnapshotWriter::staged(shared, zxid)?);
        Ok(install)
    }

    /// The snapshot's zxid.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// Appends to the snapshot's body: session table, ACL table, znodes, and the path `/` that
    /// ends them, as the leader sends them.
    ///
    /// # Errors
    /// The operating system's.
    ///
    /// # Panics
    /// After [`Install::finish_snapshot`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.writer.as_mut().expect("the snapshot is not finished yet").write(bytes)
    }

    /// Ends and syncs the snapshot. A digest section is added only if the digest is known.
    ///
    /// # Errors
    /// The operating system's.
    ///
    /// # Panics
    /// If it was called before.
    pub fn finish_snapshot(&mut self, digest: Option<SnapshotDigest>) -> Result<(), StoreError> {
        let writer = self.writer.take().expect("the snapshot is finished once");
        self.body_len = Some(writer.finish_staged(digest)?);
        Ok(())
    }

    /// Reads the staged snapshot back, every byte of it, as recovery will.
    ///
    /// # Errors
    /// [`StoreError::SnapshotDamaged`] where what the leader sent is no snapshot, or the sink
    /// refuses it; the operating system's.
    ///
    /// # Panics
    /// Before [`Install::finish_snapshot`].
    pub fn load(&mut self, sink: &mut dyn RecoverySink) -> Result<LoadedSnapshot, StoreError> {
        assert!(self.body_len.is_some(), "the snapshot is finished first");
        let name = snapshot_name(self.zxid, self.shared.config.compression);
        let loaded =
            load_file(&self.shared, self.zxid, &format!("{STAGED_PREFIX}{name}"), None, sink)?;
        self.loaded_znodes = Some(loaded.loaded.znodes);
        Ok(LoadedSnapshot { info: SnapshotInfo { name, ..loaded.info }, ..loaded })
    }

    /// The writer of the log after the snapshot. Its records are durable when flushed, and count
    /// when the history is in place.
    pub fn log_writer(&self) -> LogWriter {
        LogWriter::new(self.shared.clone(), self.zxid, true)
    }

    /// Puts the staged history in the place of the old one, which is set aside to the quarantine
    /// directory. All that was appended to `log`, which [`Install::log_writer`] gave, is durable
    /// and in place when this returns; it goes on appending there.
    ///
    /// # Errors
    /// The operating system's. Whether the old or the new history counts then is found out by the
    /// next start: the process has to end.
    ///
    /// # Panics
    /// If the snapshot was not loaded, or the log is another one's.
    pub fn commit(mut self, log: &mut LogWriter) -> Result<(), StoreError> {
        let body_len = self.body_len.expect("the snapshot is finished first");
        assert!(self.loaded_znodes.is_some(), "what cannot be loaded is not put in place");
        assert!(log.is_of(&self.shared), "the log is of this store");
        log.flush()?;
        let logs = log.staged_names().expect("the log is the staged one").to_vec();
        let shared = self.shared.clone();
        let _files = shared.files();
        let name = snapshot_name(self.zxid, shared.config.compression);
        self.make_durable(&logs)?;
        make_room_in_quarantine(&shared);
        let marker = Marker::of(&shared, Change::Install { snapshot: name.clone(), logs })?;
        // Where the note cannot be synced it may be there all the same, and goes by what is staged:
        // the next start decides.
        self.committed = true;
        marker.write(&shared)?;
        crate::switch::complete(&shared, &marker)?;
        log.unstage();
        let info = info_of(&shared, &shared.snapshot_dir.join(&name), self.zxid, name)?;
        let mut state = shared.state();
        state.installing = false;
        state.generation += 1;
        state.last = Some(log.last_zxid());
        // A Java leader goes on applying while it sends its snapshot; what it applies meanwhile it
        // has proposed to us before it ends our synchronisation.
        state.whole_at = log.last_zxid();
        state.exact.clear();
        state.log_ends.clear();
        state.verified.clear();
        state.verified.insert(info.name.clone(), (info.len, info.modified_ms));
        let entry = Entry { whole_at: state.whole_at, body_len, znodes: self.loaded_znodes };
        state.index.insert(&info, entry);
        state.last_snapshot = Some(info);
        let index = state.index.clone();
        drop(state);
        index.write(&shared);
        Ok(())
    }

    /// Syncs what is staged, names included, also where the log is not synced otherwise.
    fn make_durable(&self, logs: &[String]) -> Result<(), StoreError> {
        if mutation::is_on(Mutation::SnapshotUnsynced) {
            return Ok(());
        }
        for name in logs {
            let path = self.staged_log(name);
            let file = self.shared.disk.open_for_write(&path);
            let file = file.map_err(StoreError::io("open", &path))?;
            file.sync_all().map_err(StoreError::io("sync", &path))?;
        }
        self.shared.sync_dir(&self.shared.log_dir)?;
        self.shared.sync_dir(&self.shared.snapshot_dir)
    }

    fn staged_log(&self, name: &str) -> PathBuf {
        self.shared.log_dir.join(format!("{STAGED_PREFIX}{name}"))
    }
}

impl Drop for Install {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        self.writer = None;
        let _files = self.shared.files();
        // What cannot be removed now is removed at the next start.
        let _ = crate::switch::remove_staged(&self.shared);
        let mut state = self.shared.state();
        state.installing = false;
        state.generation += 1;
    }
}
