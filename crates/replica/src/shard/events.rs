//! Changes of the tree to watch events in the outputs of this shard's connections.

use std::sync::Arc;

use rookeeper_jute::proto::WatcherEvent;
use rookeeper_jute::wire::Text;
use rookeeper_jute::{Encode, ErrorCode, Xid, Zxid};
use rookeeper_tree::{AccessControl, AclList, Change, ChangeKind};

use super::connection::{Connection, Connections};
use super::output::Buffers;
use super::{Shard, ShardCounters, ShardEffect, ShardEffects, Turn};
use crate::close::CloseReason;
use crate::ids::ConnectionKey;
use crate::reply;
use crate::shared::Shared;
use crate::watch::{EventKind, NodeZxids, Restore, Trigger, WatchSink};

/// The state in every event: SyncConnected (Java: `KeeperState`).
const SYNC_CONNECTED: i32 = 3;

impl Shard {
    /// Turns all changes that were not yet into events.
    #[inline]
    pub(super) fn catch_up_events(&mut self, shared: &Shared, effects: &mut ShardEffects) {
        assert_eq!(
            self.sequence,
            shared.sequence(self.id),
            "all that the core said is delivered before connections read on"
        );
        let position = shared.changes.position();
        if self.cursor != position {
            self.catch_up_events_to(position, shared, effects);
        } else if self.watches.len() != self.watches_published {
            self.publish(shared);
        }
    }

    /// Turns changes into events, up to a place in the change log.
    pub(super) fn catch_up_events_to(
        &mut self,
        position: u64,
        shared: &Shared,
        effects: &mut ShardEffects,
    ) {
        assert!(self.cursor <= position, "what the core says comes in the order of the changes");
        if self.cursor == position {
            return;
        }
        if !self.watches.is_empty() {
            let len = usize::try_from(position - self.cursor).expect("the log is in memory");
            for change in shared.changes.iter_from(self.cursor).take(len) {
                self.tell_watchers(&change, effects);
            }
        }
        self.cursor = position;
        self.publish(shared);
    }

    /// Lets the core know how far this shard is and whether it wants to be woken.
    pub(super) fn publish(&mut self, shared: &Shared) {
        self.watches_published = self.watches.len();
        shared.publish(self.id, self.cursor, self.watches.len());
    }

    fn tell_watchers(&mut self, change: &Change<'_>, effects: &mut ShardEffects) {
        let trigger = match change.kind {
            ChangeKind::Created => Trigger::Created,
            ChangeKind::Deleted => Trigger::Deleted,
            ChangeKind::DataChanged => Trigger::DataChanged,
        };
        let mut events = Events {
            connections: &mut self.connections,
            buffers: &mut self.buffers,
            access: &self.access,
            counters: &mut self.counters,
            output_bytes_close: self.config.output_bytes_close,
            change,
            acl: None,
            kind: EventKind::NodeCreated,
            frame: &mut self.event,
            watchers: 0,
            full: Vec::new(),
            effects,
        };
        self.watches.trigger(trigger, change.path, &mut events);
        events.count_watchers();
        for key in events.full {
            if let Some(index) = self.connections.find(key) {
                self.close(index, CloseReason::OutputFull, effects);
            }
        }
    }

    /// Sets one list of a client's watches again, or sends the events that it missed.
    pub(super) fn restore(
        &mut self,
        index: usize,
        list: Restore,
        relative_zxid: Zxid,
        paths: Option<Vec<Text<'_>>>,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let key = self.connections.key(index);
        for path in paths.ok_or(ErrorCode::MarshallingError)? {
            let path = path.ok_or(ErrorCode::MarshallingError)?;
            let node = turn.shared.tree.node(&path).map(|node| {
                let stat = node.persisted();
                NodeZxids { mzxid: stat.mzxid, pzxid: stat.pzxid }
            });
            let missed = self.watches.restore(key, &path, list, relative_zxid, node);
            if let Some(kind) = missed {
                let out = self.output_mut(index);
                let start = out.len();
                encode_event(out, kind, &path, Zxid::NONE);
                let len = out.len() - start;
                self.connections[index].stats.sent += 1;
                self.counters.watch_bytes += len as u64 - 4;
                self.count_sent(len);
                turn.output_left = turn.output_left.saturating_sub(len);
                self.announce(index, turn.effects);
            }
        }
        Ok(())
    }
}

/// Appends the frame of an event.
fn encode_event(out: &mut Vec<u8>, kind: EventKind, path: &str, zxid: Zxid) {
    let start = reply::begin(out);
    let event =
        WatcherEvent { event_type: kind as i32, state: SYNC_CONNECTED, path: Some(path.into()) };
    event.encode(out);
    reply::end(out, start, Xid::NOTIFICATION, zxid, 0);
}

/// Takes the deliveries of one change: encodes each event once and copies it to those who may
/// read the znode.
struct Events<'a> {
    connections: &'a mut Connections,
    buffers: &'a mut Buffers,
    access: &'a AccessControl,
    counters: &'a mut ShardCounters,
    output_bytes_close: usize,
    change: &'a Change<'a>,
    acl: Option<&'a Arc<AclList>>,
    kind: EventKind,
    frame: &'a mut Vec<u8>,
    watchers: u64,
    /// Connections that gathered more than the limit.
    full: Vec<ConnectionKey>,
    effects: &'a mut ShardEffects,
}

impl Events<'_> {
    /// Adds the watchers of the event before to the metric of its kind.
    fn count_watchers(&mut self) {
        let watchers = std::mem::take(&mut self.watchers);
        if watchers == 0 {
            return;
        }
        match self.kind {
            EventKind::NodeCreated => self.counters.node_created_watchers.add(watchers),
            EventKind::NodeDeleted => self.counters.node_deleted_watchers.add(watchers),
            EventKind::NodeDataChanged => self.counters.node_changed_watchers.add(watchers),
            EventKind::NodeChildrenChanged => self.counters.node_children_watchers.add(watchers),
        }
    }

    fn may_read(&self, connection: &Connection) -> bool {
        let acl = self.acl.map(|acl| &**acl);
        self.access.may_read(acl, &connection.identities)
    }
}

impl WatchSink<ConnectionKey> for Events<'_> {
    fn begin(&mut self, kind: EventKind, path: &str) {
        self.count_watchers();
        self.kind = kind;
        self.acl = match kind {
            EventKind::NodeChildrenChanged => self.change.parent_acl,
            _ => self.change.acl,
        };
        self.frame.clear();
        encode_event(self.frame, kind, path, self.change.zxid);
    }

    fn deliver(&mut self, key: ConnectionKey) {
        self.watchers += 1;
        let Some(index) = self.connections.find(key) else { return };
        let connection = &self.connections[index];
        if !connection.is_writable() || !self.may_read(connection) {
            return;
        }
        let connection = &mut self.connections[index];
        if connection.output.capacity() == 0 {
            connection.output = self.buffers.take();
        }
        connection.output.extend_from_slice(self.frame);
        connection.stats.sent += 1;
        if connection.output_len() > self.output_bytes_close {
            self.full.push(key);
        }
        if !connection.announced {
            connection.announced = true;
            self.effects.effects.push(ShardEffect::Output(key));
        }
        let len = self.frame.len() as u64 - 4;
        self.counters.packets_sent += 1;
        self.counters.watch_bytes += len;
        self.counters.response_size.add(len);
        self.counters.last_response_size = len;
    }
}
