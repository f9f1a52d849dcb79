//! What the threads of a server do when it is their turn. Between two turns anything may happen to
//! anybody else: the turns are the holds of the lock.

use std::path::Path;

use rookeeper_jute::Zxid;
use rookeeper_replica::{
    ApplyProgress, ConnectionKey, CoreEffect, CoreInput, EndReason, HaltReason, MemberEvent, Now,
    ReplicaEffect, ServerState, ShardEffect, ShardEffects, StorageCommand, TICK_INTERVAL_MS,
};
use rookeeper_store::{Disk, StoreError};

use super::process::{Message, Process, server_id};
use super::{Event, Who, World};
use crate::network::Packet;
use crate::recovery::{self, DATA_DIR, Opened};

/// Bytes to a client that are on their way at most.
const WINDOW: usize = 64 << 10;
/// How long a connection that is to close may take to send its last bytes, in microseconds.
const LINGER_US: u64 = 5_000_000;

impl World {
    /// The process that an event is for, if it still runs.
    pub(super) fn process(&mut self, who: Who) -> Option<&mut Process> {
        let process = self.machines.get_mut(who.server)?.process.as_mut()?;
        (process.generation == who.generation).then_some(process)
    }

    pub(super) fn server_now(&self, server: usize) -> Now {
        self.machines[server].clock.now(self.queue.now_us())
    }

    /// How long a thread takes to get going; now and then the system is busy.
    fn hop_us(&mut self) -> u64 {
        if self.dice.one_in(200) { self.dice.between(500, 5000) } else { self.dice.between(1, 40) }
    }

    /// Starts a server on a machine that has power and no process.
    pub(super) fn start_server(&mut self, server: usize) {
        let machine = &mut self.machines[server];
        if machine.process.is_some() || machine.stays_down {
            return;
        }
        machine.has_power = true;
        machine.generation += 1;
        let cut = machine.power_loss_in_recovery.take();
        if let Some(after) = cut {
            machine.disk.lose_power_at(machine.disk.operations() + after);
        }
        self.reset_forgotten(server);
        let is_alone = self.machines.len() == 1;
        let machine = &self.machines[server];
        let opened = recovery::open(&machine.disk, is_alone, !machine.is_wiped);
        if cut.is_none() && self.is_refused_for_rot(server, &opened) {
            self.wipe(server);
            return;
        }
        let opened = match opened {
            Ok(opened) => opened,
            Err(_) if cut.is_some() => {
                self.lose_power(server);
                self.start_later(server);
                return;
            }
            Err(StoreError::Io { .. }) if !self.is_peace => {
                // A failure that was planned: the server exits, and whoever runs it tries again.
                let machine = &mut self.machines[server];
                machine.disk = machine.disk.after_kill();
                self.start_later(server);
                return;
            }
            Err(error) => {
                self.fail("start", format!("server {server} does not start: {error}"));
                return;
            }
        };
        if cut.is_some() {
            self.machines[server].disk.lose_power_at(u64::MAX);
        }
        self.forget_what_it_had(server);
        // As the server does with the files of its configuration before it goes by them.
        if self.machines[server].disk.sync_dir(Path::new(DATA_DIR)).is_err() {
            self.start_later(server);
            return;
        }
        self.check_opened(server, &opened);
        if self.mend_configuration(server).is_err() {
            self.start_later(server);
            return;
        }
        self.make_process(server, opened);
    }

    fn make_process(&mut self, server: usize, opened: Opened) {
        let now = self.server_now(server);
        let seed = self.dice.draw();
        let machine = &self.machines[server];
        let (generation, disk) = (machine.generation, machine.disk.clone());
        let first = self.first_of(server);
        let mut effects = Vec::new();
        let plan = &self.plan;
        let process = Process::new(
            plan,
            server,
            first.as_ref(),
            generation,
            now,
            seed,
            &disk,
            opened,
            &mut effects,
        );
        let process = match process {
            Ok(process) => process,
            Err(error) => {
                self.fail("start", format!("server {server} does not start: {error}"));
                return;
            }
        };
        self.machines[server].process = Some(process);
        let who = Who { server, generation };
        self.looks(who);
        self.carry(who, effects);
        self.plan_deadline(who);
        let after_us = self.dice.below(TICK_INTERVAL_MS * 1000);
        self.queue.push(after_us, Event::Tick(who));
    }

    pub(super) fn start_later(&mut self, server: usize) {
        let after_us = match self.dice.below(4) {
            0 => self.dice.between(2_000_000, 6_000_000),
            _ => self.dice.between(20_000, 800_000),
        };
        self.queue.push(after_us, Event::Start(server));
    }

    /// The process ends itself.
    fn exit(&mut self, who: Who) {
        self.kill(who.server);
        self.start_later(who.server);
    }

    /// Gives the core a message.
    pub(super) fn tell_core(&mut self, who: Who, message: Message) {
        let hop_us = self.hop_us();
        let Some(process) = self.process(who) else { return };
        process.inbox.push_back(message);
        if !process.core_scheduled {
            process.core_scheduled = true;
            self.queue.push(hop_us, Event::Core(who));
        }
    }

    pub(super) fn wake_shard(&mut self, who: Who, shard: usize) {
        let hop_us = self.hop_us();
        let Some(process) = self.process(who) else { return };
        if !process.shards[shard].is_scheduled {
            process.shards[shard].is_scheduled = true;
            self.queue.push(hop_us, Event::Shard(who, shard));
        }
    }

    pub(super) fn core_turn(&mut self, who: Who) {
        let now = self.server_now(who.server);
        let Some(process) = self.process(who) else { return };
        process.core_scheduled = false;
        let Some(message) = process.inbox.pop_front() else { return };
        let mut effects = Vec::new();
        process.engine.step(now, message, &process.shared, &mut effects);
        self.carry(who, effects);
        self.plan_deadline(who);
        let hop_us = self.dice.between(1, 15);
        let Some(process) = self.process(who) else { return };
        if !process.inbox.is_empty() {
            process.core_scheduled = true;
            self.queue.push(hop_us, Event::Core(who));
        }
    }

    pub(super) fn apply_turn(&mut self, who: Who) {
        let now = self.server_now(who.server);
        let Some(process) = self.process(who) else { return };
        process.apply_scheduled = false;
        let mut effects = Vec::new();
        let progress = process.engine.apply(now, &mut process.shared, &mut effects);
        let tree = &process.shared.tree;
        let (zxid, digest) = (tree.last_processed_zxid(), tree.digest());
        if process.applies_committed() {
            self.committed(zxid);
        }
        self.shows(&format!("server {}", who.server), zxid, digest);
        self.carry(who, effects);
        self.plan_deadline(who);
        if progress == ApplyProgress::More {
            self.schedule_apply(who);
        }
    }

    fn schedule_apply(&mut self, who: Who) {
        let hop_us = self.dice.between(1, 20);
        let Some(process) = self.process(who) else { return };
        if !process.apply_scheduled {
            process.apply_scheduled = true;
            self.queue.push(hop_us, Event::Apply(who));
        }
    }

    pub(super) fn carry(&mut self, who: Who, effects: Vec<ReplicaEffect>) {
        for effect in effects {
            let Some(process) = self.process(who) else { return };
            if !process.lives_on() {
                return;
            }
            match effect {
                ReplicaEffect::Core(effect) => self.carry_core(who, effect),
                ReplicaEffect::Link(effect) => self.carry_link(who, effect),
                ReplicaEffect::QuorumDial { dial, addresses } => {
                    self.dial_leader(who, dial, &addresses);
                }
                ReplicaEffect::QuorumSend { connection, item } => {
                    self.quorum_send(who, connection, item);
                }
                ReplicaEffect::QuorumClose(connection) => self.quorum_close(who, connection),
                ReplicaEffect::QuorumPause(connection) => {
                    self.quorum_pause(who, connection, true);
                }
                ReplicaEffect::QuorumResume(connection) => {
                    self.quorum_pause(who, connection, false);
                }
                ReplicaEffect::Storage(command) => self.command(who, command),
                ReplicaEffect::Held => self.release_later(who),
                // Not every end of a role is an event of its own: a full disk, a successor.
                ReplicaEffect::State(state) => process.heads &= state == ServerState::Leading,
                ReplicaEffect::Membership(membership) => self.goes_by(who, &membership),
                ReplicaEffect::Event(event) => self.member_event(who, event),
                ReplicaEffect::Ended(EndReason::DiskFailed) => {
                    self.exit(who);
                    return;
                }
                ReplicaEffect::Ended(reason) => {
                    self.fail("end", format!("server {} ends: {reason:?}", who.server));
                }
            }
        }
    }

    fn carry_core(&mut self, who: Who, effect: CoreEffect) {
        let Some(process) = self.process(who) else { return };
        match effect {
            CoreEffect::Append(segment) => self.command(who, StorageCommand::Append(segment)),
            CoreEffect::Roll => self.command(who, StorageCommand::Roll),
            CoreEffect::Apply => self.schedule_apply(who),
            CoreEffect::Deliver(batch) => {
                let shard = batch.shard().index();
                process.shards[shard].deliveries.push_back(batch);
                self.wake_shard(who, shard);
            }
            CoreEffect::Wake(shard) => self.wake_shard(who, shard.index()),
            CoreEffect::BeginSnapshot => {
                let hop_us = self.hop_us() + self.dice.below(self.plan.snapshot_wait_us);
                self.queue.push(hop_us, Event::Snapshot(who, 0));
            }
            CoreEffect::SessionsExpired(sessions) => self.sessions_expired(who, &sessions),
            CoreEffect::DigestMismatch(zxid) => {
                self.fail("digest", format!("server {} differs at {zxid}", who.server));
            }
            CoreEffect::QuotaExceeded(_) => {}
            CoreEffect::Halted(HaltReason::DiskFailed) => self.exit(who),
            other => self.fail("core", format!("a driver is asked for {other:?}")),
        }
    }

    fn member_event(&mut self, who: Who, event: MemberEvent) {
        let now_ms = self.server_now(who.server).monotonic_ms();
        if self.setup.is_loud {
            crate::say(&format!("server {}: {event:?}", who.server));
        }
        let Some(process) = self.process(who) else { return };
        match event {
            MemberEvent::Established { epoch, .. } => {
                process.serves_since_ms = now_ms;
                let is_known = process.leads.replace(epoch as u32) == Some(epoch as u32);
                let last = process.last_appended;
                self.report.epochs += 1;
                if !is_known {
                    self.established(who.server, epoch as u32, last);
                }
            }
            MemberEvent::Elected { leader, .. } => {
                // The end of what it was before is not always told.
                process.leads = None;
                process.heads = leader == server_id(who.server);
                if process.heads {
                    self.is_elected(who);
                }
            }
            // Its learners may be gone before they hear that it is committed.
            MemberEvent::Reconfigured { version }
                if process.leads == Some(Zxid(version).epoch()) =>
            {
                // What was pending when its epoch began is committed with that.
                let epoch = self.machines[who.server].epochs[1];
                if epoch == i64::from(Zxid(version).epoch()) {
                    self.committed(Zxid(version));
                }
            }
            MemberEvent::UpToDate { epoch, .. } => {
                let last = process.last_appended;
                self.follows(epoch as u32, last);
            }
            MemberEvent::Diverged { zxid, response } => {
                let what = format!("server {} differs at {zxid}: {response:?}", who.server);
                self.fail("digest", what);
            }
            MemberEvent::RoleEnded(reason) => {
                process.leads = None;
                self.role_ended(who, &reason);
            }
            _ => {}
        }
    }

    pub(super) fn shard_turn(&mut self, who: Who, shard: usize) {
        let now = self.server_now(who.server);
        let Some(process) = self.process(who) else { return };
        let side = &mut process.shards[shard];
        side.is_scheduled = false;
        let mut effects = ShardEffects::default();
        while let Some(batch) = side.deliveries.pop_front() {
            side.shard.deliver(now, batch, &process.shared, &mut effects);
        }
        side.shard.catch_up(now, &process.shared, &mut effects);
        self.carry_shard_effects(who, shard, &mut effects);
        let mut is_left = false;
        for key in self.readable(who, shard) {
            let most = if self.dice.one_in(3) { 60 } else { 8000 };
            let take = 1 + self.dice.index(most);
            let Some(process) = self.process(who) else { return };
            let Some(socket) = process.sockets.get_mut(&key) else { continue };
            if socket.is_paused || socket.closing.is_some() {
                continue;
            }
            let len = take.min(socket.inbox.len());
            let bytes: Vec<u8> = socket.inbox.drain(..len).collect();
            is_left |= !socket.inbox.is_empty();
            let shard_of = &mut process.shards[shard].shard;
            shard_of.receive(now, key, &bytes, &process.shared, &mut effects);
            self.carry_shard_effects(who, shard, &mut effects);
        }
        self.submit(who, effects);
        self.drop_ended(who, shard);
        if is_left {
            self.wake_shard(who, shard);
        }
    }

    /// Some of the sockets that have something to read, in any order.
    fn readable(&mut self, who: Who, shard: usize) -> Vec<ConnectionKey> {
        let Some(process) = self.process(who) else { return Vec::new() };
        let sockets = process.sockets.iter();
        let readable = sockets.filter(|(key, socket)| {
            key.shard.index() == shard && !socket.inbox.is_empty() && !socket.is_paused
        });
        let mut keys: Vec<ConnectionKey> = readable.map(|(key, _)| *key).collect();
        for at in (1..keys.len()).rev() {
            let other = self.dice.index(at + 1);
            keys.swap(at, other);
        }
        keys
    }

    /// Connections that clients have ended and that hold nothing more to read.
    fn drop_ended(&mut self, who: Who, shard: usize) {
        let Some(process) = self.process(who) else { return };
        let sockets = process.sockets.iter();
        let ended = sockets.filter(|(key, socket)| {
            let is_read = socket.inbox.is_empty() || socket.closing.is_some();
            key.shard.index() == shard && socket.is_ended && is_read
        });
        let ended: Vec<ConnectionKey> = ended.map(|(key, _)| *key).collect();
        for key in ended {
            self.drop_socket(who, key, Packet::End);
        }
    }

    /// The socket is gone: the shard hears of it once.
    pub(super) fn drop_socket(&mut self, who: Who, key: ConnectionKey, last: Packet) {
        let now_us = self.queue.now_us();
        let Some(process) = self.process(who) else { return };
        let Some(socket) = process.sockets.remove(&key) else { return };
        let shard = key.shard.index();
        let mut effects = ShardEffects::default();
        process.shards[shard].shard.closed(key, &mut effects);
        let arrival = self.network.close(now_us, socket.net, 1, last);
        self.schedule_arrival(arrival);
        self.carry_shard(who, shard, effects);
    }

    pub(super) fn carry_shard(&mut self, who: Who, shard: usize, mut effects: ShardEffects) {
        self.carry_shard_effects(who, shard, &mut effects);
        self.submit(who, effects);
    }

    fn submit(&mut self, who: Who, effects: ShardEffects) {
        let Some(process) = self.process(who) else { return };
        if !effects.submissions.is_empty() && process.lives_on() {
            let input = CoreInput::Submissions(effects.submissions);
            self.tell_core(who, Message::Core(input));
        }
    }

    fn carry_shard_effects(&mut self, who: Who, shard: usize, effects: &mut ShardEffects) {
        let now_us = self.queue.now_us();
        for effect in std::mem::take(&mut effects.effects) {
            let Some(process) = self.process(who) else { return };
            if !process.lives_on() {
                return;
            }
            match effect {
                ShardEffect::Output(key) => {
                    if let Some(socket) = process.sockets.get_mut(&key) {
                        socket.is_dirty = true;
                        self.schedule_flush(who, shard, 0);
                    }
                }
                ShardEffect::Pause(key) => {
                    if let Some(socket) = process.sockets.get_mut(&key) {
                        socket.is_paused = true;
                    }
                }
                ShardEffect::Resume(key) => {
                    if let Some(socket) = process.sockets.get_mut(&key) {
                        socket.is_paused = false;
                        self.wake_shard(who, shard);
                    }
                }
                ShardEffect::Close(key, reason) => {
                    if let Some(socket) = process.sockets.get_mut(&key) {
                        socket.closing = Some((reason, now_us));
                        socket.is_dirty = true;
                        self.schedule_flush(who, shard, 0);
                    }
                }
                ShardEffect::FourLetterWord { .. } => {}
                ShardEffect::More => self.wake_shard(who, shard),
            }
        }
    }

    fn schedule_flush(&mut self, who: Who, shard: usize, after_us: u64) {
        let hop_us = after_us + self.dice.between(1, 10);
        let Some(process) = self.process(who) else { return };
        if !process.shards[shard].is_flushing {
            process.shards[shard].is_flushing = true;
            self.queue.push(hop_us, Event::Flush(who, shard));
        }
    }

    pub(super) fn flush_turn(&mut self, who: Who, shard: usize) {
        let now_us = self.queue.now_us();
        let Some(process) = self.process(who) else { return };
        process.shards[shard].is_flushing = false;
        let sockets = process.sockets.iter();
        let dirty = sockets.filter(|(key, socket)| key.shard.index() == shard && socket.is_dirty);
        let dirty: Vec<ConnectionKey> = dirty.map(|(key, _)| *key).collect();
        let mut is_left = false;
        for key in dirty {
            let Some(process) = self.machines[who.server].process.as_mut() else { return };
            let Some(socket) = process.sockets.get_mut(&key) else { continue };
            let (net, closing) = (socket.net, socket.closing);
            let room = WINDOW.saturating_sub(self.network.in_flight(net, 1));
            let output = process.shards[shard].shard.output(key);
            let bytes = output[..room.min(output.len())].to_vec();
            let is_all = bytes.len() == output.len();
            let mut effects = ShardEffects::default();
            if !bytes.is_empty() {
                process.shards[shard].shard.written(key, bytes.len(), &mut effects);
                let arrival = self.network.send(now_us, net, 1, Packet::Bytes(bytes));
                self.schedule_arrival(arrival);
            }
            let Some(process) = self.process(who) else { return };
            if let Some(socket) = process.sockets.get_mut(&key) {
                socket.is_dirty = !is_all;
            }
            is_left |= !is_all;
            self.carry_shard(who, shard, effects);
            if closing.is_some_and(|(_, since_us)| is_all || now_us > since_us + LINGER_US) {
                self.drop_socket(who, key, Packet::End);
            }
        }
        if is_left {
            self.schedule_flush(who, shard, 500);
        }
    }
}
