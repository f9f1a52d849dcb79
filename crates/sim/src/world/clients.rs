//! What clients do: random operations in deep pipelines, a lock now and then, sessions that end,
//! expire and move.

use std::collections::BTreeMap;

use rookeeper_jute::{CreateMode, ErrorCode, SessionId, Zxid};
use rookeeper_session::{
    Config, ConnectionId, Effect, Input, Leaving, Operation, ReadOnly, Reply, Session, State,
    Token, WatchToken,
};

use super::{End, Event, Who, World};
use crate::dice::Dice;
use crate::history::{Claim, Fired, Record, Returned};
use crate::network::{NetId, Packet};
use crate::workload::{DIRECTORIES, LOCK, Workload, create, data};

/// Where a client stands with the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lock {
    Away,
    /// Its znode is being created.
    Creating(Token),
    /// It looks who is first.
    Listing(Token, String),
    /// It waits until the znode before its own is gone.
    Waiting(WatchToken, String),
    /// It holds the lock until then.
    Holding(String, u64),
    /// It gives the lock back.
    Releasing(Token),
}

/// One client.
pub struct Client {
    session: Option<Session>,
    /// The number of its session among all that clients had.
    pub(super) handle: usize,
    /// The servers in its order.
    pub(super) hosts: Vec<usize>,
    nets: BTreeMap<ConnectionId, NetId>,
    workload: Workload,
    dice: Dice,
    lock: Lock,
    has_directories: bool,
    /// Operations of the present session that did not come back.
    outstanding: usize,
    timer_ms: Option<u64>,
    /// The last state that it was told; the session may have gone on, the rest is still to be told.
    pub(super) told: Option<State>,
}

impl Client {
    /// A client that has done nothing yet.
    pub(super) fn new(_number: usize, mut dice: Dice) -> Self {
        Client {
            session: None,
            handle: 0,
            hosts: Vec::new(),
            nets: BTreeMap::new(),
            workload: Workload::new(dice.fork()),
            dice,
            lock: Lock::Away,
            has_directories: false,
            outstanding: 0,
            timer_ms: None,
            told: None,
        }
    }

    /// Whether everything that it asked for came back.
    pub(super) fn is_quiet(&self) -> bool {
        self.outstanding == 0
    }

    /// How many operations wait, and how the session stands.
    pub(super) fn standing(&self) -> (usize, Option<State>) {
        (self.outstanding, self.session.as_ref().and_then(Session::state))
    }

    pub(super) fn session_id(&self) -> SessionId {
        self.session.as_ref().map_or(SessionId(0), Session::id)
    }
}

impl World {
    pub(super) fn machine_of(&self, client: usize) -> usize {
        self.machines.len() + client
    }

    pub(super) fn only_reads(&self, client: usize) -> bool {
        client < self.plan.readers
    }

    fn now_ms(&self) -> u64 {
        self.queue.now_us() / 1000
    }

    /// A client thinks of something to do.
    pub(super) fn client_act(&mut self, client: usize) {
        if self.is_rest {
            return;
        }
        let pause_us = self.plan.pause_us;
        let next_us = self.clients[client].dice.between(pause_us / 4, pause_us);
        self.queue.push(next_us, Event::Act(client));
        let state = self.clients[client].session.as_ref().map(Session::state);
        match state {
            None => self.open_session(client, None),
            Some(Some(state)) if !state.is_alive() => self.open_session(client, None),
            _ => {}
        }
        if !self.clients[client].has_directories && !self.only_reads(client) {
            self.clients[client].has_directories = true;
            for path in DIRECTORIES {
                let token = self.next_token();
                let create = create(path, data(token.0, 0), CreateMode::Persistent);
                self.submit_operation(client, Operation::Create(create));
            }
        }
        if self.plan.roles.reconfigures && self.dice.one_in(40) {
            self.reconfigure(client);
        }
        match self.clients[client].dice.below(400) {
            0 => self.close_session(client),
            1 => self.move_session(client),
            2..=30 if !self.only_reads(client) => self.lock_step(client),
            _ => self.burst(client),
        }
    }

    /// Some operations at once.
    fn burst(&mut self, client: usize) {
        let depth = self.plan.depth;
        let of = &mut self.clients[client];
        let room = depth.saturating_sub(of.outstanding);
        let count = match self.setup.operations_per_s {
            None => of.dice.index(room.min(8) + 1),
            Some(rate) => {
                let due = rate as usize * self.queue.now_us() as usize / 1_000_000;
                due.saturating_sub(self.history.records.len()).min(room)
            }
        };
        for _ in 0..count {
            let token = self.next_token();
            let reads = self.only_reads(client);
            let workload = &mut self.clients[client].workload;
            let operation =
                if reads { workload.draw_read(token.0) } else { workload.draw(token.0) };
            let syncs = matches!(operation, Operation::Sync { .. });
            self.submit_operation(client, operation);
            if syncs {
                let path = format!("/r/{}", self.clients[client].dice.below(4));
                self.submit_operation(client, Operation::GetData { path, watch: None });
            }
        }
        self.hold_on(client);
    }

    /// A client asks for all that it may have in flight.
    pub(super) fn hurry(&mut self, client: usize) {
        let state = self.clients[client].session.as_ref().and_then(Session::state);
        if !self.is_rest && state.is_some_and(State::is_alive) {
            (0..self.plan.depth / 4).for_each(|_| self.burst(client));
        }
    }

    pub(super) fn next_token(&self) -> Token {
        Token(self.history.records.len() as u64)
    }

    pub(super) fn submit_operation(&mut self, client: usize, operation: Operation) -> Token {
        let token = self.next_token();
        let of = &mut self.clients[client];
        of.outstanding += 1;
        self.history.records.push(Record {
            handle: of.handle,
            session: of.session_id(),
            operation: operation.clone(),
            invoked_us: self.queue.now_us(),
            returned: None,
        });
        let handle = of.handle;
        self.client_input(client, handle, Input::Submit { token, operation });
        token
    }

    /// A new session, or the session of before on a new connection.
    fn open_session(&mut self, client: usize, resume: Option<(SessionId, Vec<u8>)>) {
        self.handles += 1;
        let servers = self.machines.len();
        let timeout_ms = self.plan.session_timeout_ms;
        let of = &mut self.clients[client];
        of.hosts = (0..servers).collect();
        for at in (1..servers).rev() {
            let other = of.dice.index(at + 1);
            of.hosts.swap(at, other);
        }
        of.handle = self.handles;
        of.lock = Lock::Away;
        of.outstanding = 0;
        (of.timer_ms, of.told) = (None, None);
        let seed = of.dice.draw();
        let mut config = Config { resume, ..Config::new(servers, timeout_ms, seed) };
        if self.plan.roles.read_only_after_ms.is_some() && of.dice.percent(60) {
            config.read_only = ReadOnly::Accepted;
        }
        of.session = Some(Session::new(config));
        self.client_input(client, self.handles, Input::Tick);
    }

    fn close_session(&mut self, client: usize) {
        let token = self.next_token();
        let of = &mut self.clients[client];
        let handle = of.handle;
        of.outstanding += 1;
        self.history.records.push(Record {
            handle,
            session: of.session_id(),
            operation: Operation::WhoAmI,
            invoked_us: self.queue.now_us(),
            returned: None,
        });
        self.client_input(client, handle, Input::Close { token });
    }

    /// The client's program is started anew and goes on with its session; what the old one had
    /// asked for is on its way still.
    fn move_session(&mut self, client: usize) {
        let of = &mut self.clients[client];
        let Some(session) = &of.session else { return };
        let is_connected = session.state() == Some(State::Connected);
        if !is_connected || session.id() == SessionId(0) {
            return;
        }
        let resume = (session.id(), session.password().to_vec());
        self.history.moved.insert(resume.0);
        for net in std::mem::take(&mut of.nets).into_values() {
            self.network.vanish(net, 0);
            self.network.blackhole(net, 1);
        }
        self.open_session(client, Some(resume));
    }

    /// Gives a client's session an input, if it is still that session.
    pub(super) fn client_input(&mut self, client: usize, handle: usize, input: Input<'_>) {
        let now_ms = self.now_ms();
        let of = &mut self.clients[client];
        if of.handle != handle {
            return;
        }
        let Some(session) = &mut of.session else { return };
        let mut effects = Vec::new();
        session.step(now_ms, input, &mut effects);
        for effect in effects {
            self.client_effect(client, handle, effect);
        }
    }

    pub(super) fn client_timer(&mut self, client: usize, handle: usize, at_ms: u64) {
        let of = &self.clients[client];
        if of.handle == handle && of.timer_ms == Some(at_ms) {
            self.client_input(client, handle, Input::Tick);
        }
    }

    pub(super) fn client_disconnected(
        &mut self,
        client: usize,
        handle: usize,
        connection: ConnectionId,
        net: NetId,
    ) {
        self.network.vanish(net, 0);
        if self.clients[client].handle == handle {
            self.clients[client].nets.remove(&connection);
        }
        self.client_input(client, handle, Input::Disconnected { connection });
    }

    fn client_effect(&mut self, client: usize, handle: usize, effect: Effect) {
        let now_us = self.queue.now_us();
        if self.setup.is_loud
            && matches!(
                effect,
                Effect::Connect { .. } | Effect::State(_) | Effect::Disconnect { .. }
            )
        {
            let id = self.clients[client].session_id();
            crate::say(&format!("client {client}, {handle}, session {id}: {effect:?}"));
        }
        if let Effect::State(state) = effect {
            self.clients[client].told = Some(state);
        }
        match effect {
            Effect::Connect { connection, host } => {
                let server = self.clients[client].hosts[host];
                let ends = [
                    End::Client { client, handle, connection },
                    End::Service { who: Who { server, generation: 0 }, key: None },
                ];
                let machines = [self.machine_of(client), server];
                let (net, arrival) = self.network.open(now_us, ends, machines);
                self.clients[client].nets.insert(connection, net);
                self.schedule_arrival(arrival);
            }
            Effect::Send { connection, bytes } => {
                let Some(net) = self.clients[client].nets.get(&connection) else { return };
                let arrival = self.network.send(now_us, *net, 0, Packet::Bytes(bytes));
                self.schedule_arrival(arrival);
            }
            Effect::Disconnect { connection, reason } => {
                if matches!(
                    reason,
                    Leaving::OutOfOrder { .. }
                        | Leaving::UnexpectedReply { .. }
                        | Leaving::Malformed(_)
                        | Leaving::FrameLength(_)
                ) {
                    self.fail("protocol", format!("client {client} leaves a server: {reason}"));
                }
                let Some(net) = self.clients[client].nets.remove(&connection) else { return };
                let arrival = self.network.close(now_us, net, 0, Packet::End);
                self.schedule_arrival(arrival);
            }
            Effect::Completed { token, zxid, result } => {
                self.completed(client, token, zxid, result);
            }
            Effect::Watch { event, watchers } => {
                for watch in watchers {
                    let order = self.history.next_order();
                    let event = event.clone();
                    self.trace.note(event.zxid.0 as u64 ^ watch.0);
                    self.history.fired.push(Fired { watch, order, at_us: now_us, event });
                    self.lock_fired(client, watch);
                }
            }
            Effect::State(State::Disconnected) => {
                let order = self.history.next_order();
                self.history.lost.entry(handle).or_default().push(order);
            }
            Effect::State(_) => {}
            Effect::Probe { host } => self.probe(client, handle, host),
            Effect::SetTimer { at_ms } => {
                self.clients[client].timer_ms = Some(at_ms);
                self.queue.push_at(at_ms * 1000, Event::Timer { client, handle, at_ms });
            }
        }
    }

    fn completed(
        &mut self,
        client: usize,
        token: Token,
        zxid: Zxid,
        result: Result<Reply, ErrorCode>,
    ) {
        let order = self.history.next_order();
        let at_us = self.queue.now_us();
        self.trace.note(zxid.0 as u64 ^ token.0.rotate_left(32));
        let of = &mut self.clients[client];
        of.outstanding -= 1;
        let id = of.session_id();
        let zxid = self.judged_zxid(client, token, zxid, &result);
        let of = &mut self.clients[client];
        let record = &mut self.history.records[token.0 as usize];
        record.session = id;
        match &result {
            Ok(_) if matches!(record.operation, Operation::Reconfig { .. }) => {
                self.report.reconfigured += 1;
            }
            Ok(Reply::Created { path, .. }) => of.workload.saw(path.clone()),
            Ok(Reply::Children { names, .. }) => {
                if let Operation::GetChildren { path, .. } = &record.operation
                    && let Some(name) = names.first()
                {
                    of.workload.saw(format!("{path}/{name}"));
                }
            }
            _ => {}
        }
        let shown = result.clone();
        record.returned = Some(Returned { at_us, order, zxid, result });
        // What a server without a leader shows is no reason to hold a lock.
        let is_stale = self.history.read_only.contains(&token.0);
        let shown = if is_stale { Err(ErrorCode::NotReadOnly) } else { shown };
        self.lock_completed(client, token, zxid, shown);
    }

    fn lock_step(&mut self, client: usize) {
        if self.clients[client].lock == Lock::Away {
            let token = self.next_token();
            let mode = CreateMode::EphemeralSequential;
            let create = create(format!("{LOCK}/n-"), data(token.0, 0), mode);
            self.clients[client].lock = Lock::Creating(token);
            self.submit_operation(client, Operation::Create(create));
        }
    }

    /// Gives the lock back when its time has come.
    fn hold_on(&mut self, client: usize) {
        let now_us = self.queue.now_us();
        if let Lock::Holding(path, until_us) = self.clients[client].lock.clone()
            && now_us >= until_us
        {
            let token = self.next_token();
            self.clients[client].lock = Lock::Releasing(token);
            self.submit_operation(client, Operation::Delete { path, version: -1 });
        }
    }

    fn list_lock(&mut self, client: usize, own: String) {
        let token = self.next_token();
        self.clients[client].lock = Lock::Listing(token, own);
        let path = LOCK.to_owned();
        self.submit_operation(client, Operation::GetChildren { path, watch: None });
    }

    fn lock_completed(
        &mut self,
        client: usize,
        token: Token,
        zxid: Zxid,
        result: Result<Reply, ErrorCode>,
    ) {
        match (self.clients[client].lock.clone(), result) {
            (Lock::Creating(asked), Ok(Reply::Created { path, .. })) if asked == token => {
                self.list_lock(client, path);
            }
            (Lock::Listing(asked, own), Ok(Reply::Children { names, .. })) if asked == token => {
                let mut names: Vec<String> =
                    names.into_iter().map(|name| format!("{LOCK}/{name}")).collect();
                names.sort();
                match names.iter().position(|name| *name == own) {
                    Some(0) => {
                        let until_us =
                            self.queue.now_us() + self.clients[client].dice.below(800_000);
                        self.history.claims.push(Claim { path: own.clone(), zxid });
                        self.clients[client].lock = Lock::Holding(own, until_us);
                    }
                    Some(at) => {
                        let watch = WatchToken(self.next_token().0);
                        self.clients[client].lock = Lock::Waiting(watch, own);
                        let path = names[at - 1].clone();
                        let operation = Operation::Exists { path, watch: Some(watch) };
                        self.submit_operation(client, operation);
                    }
                    None => self.clients[client].lock = Lock::Away,
                }
            }
            (Lock::Waiting(watch, own), Err(ErrorCode::NoNode)) if watch.0 == token.0 => {
                self.list_lock(client, own);
            }
            // Whether the znode is there is not known: the session takes it away with itself.
            (Lock::Creating(asked) | Lock::Listing(asked, _) | Lock::Releasing(asked), Err(_))
                if asked == token =>
            {
                self.clients[client].lock = Lock::Away;
                self.close_session(client);
            }
            (Lock::Waiting(watch, _), Err(_)) if watch.0 == token.0 => {
                self.clients[client].lock = Lock::Away;
                self.close_session(client);
            }
            (Lock::Releasing(asked), Ok(_)) if asked == token => {
                self.clients[client].lock = Lock::Away;
            }
            _ => {}
        }
    }

    fn lock_fired(&mut self, client: usize, watch: WatchToken) {
        if let Lock::Waiting(left, own) = self.clients[client].lock.clone()
            && left == watch
        {
            self.list_lock(client, own);
        }
    }
}
