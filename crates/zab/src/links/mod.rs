//! Election links: one connection between each two servers, of which the one with the larger id
//! dials (Java: `QuorumCnxManager`).
//!
//! Who has the smaller id dials as well, to be called back. An accepted connection replaces an
//! older one. Of what waits for a peer only the newest message is kept, and a new connection
//! starts with the last message sent on the one before, which may have been lost with it. A link
//! that ends need not mean that the peer is gone, only a dial that fails does: two servers that
//! dial each other at one time end a good link between them, and call back. Every
//! peer has a state of its own, so that none waits for another; a connection that does not say
//! who it is holds up nobody and is closed in time.

mod hello;

use std::collections::BTreeMap;
use std::sync::Arc;

use rookeeper_jute::{ServerId, limits};

use crate::membership::Address;
use crate::quorum::Ensemble;

use hello::{Greeting, Hello};

/// Connections that have not said who they are; beyond them the oldest is closed.
const STRANGERS_MAX: usize = 64;

/// Peers that are remembered; beyond them those that are not configured are refused.
const PEERS_MAX: usize = 512;

/// A link that ends again so soon after it was found out that the peer is there tells that it is
/// of no use.
const PROBE_PAUSE_MS: u64 = 200;

/// A peer with the larger id that was only dialled to see whether it is there, and does not call,
/// is dialled again after this long, then after twice as long, and so on: a process that is being
/// killed still takes connections for a moment.
const PROBE_AGAIN_MS: u64 = 10;

/// How often, beyond the first time.
const PROBES_MAX: u32 = 4;

/// The id of observers that have none; each gets a negative one (Java: `QuorumPeer.OBSERVER_ID`).
const ANONYMOUS: ServerId = ServerId(i64::MAX);

/// A connection, numbered by the driver; numbers are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// How links behave.
#[derive(Debug, Clone)]
pub struct LinksConfig {
    /// This server.
    pub me: ServerId,
    /// Its own election addresses, until a configuration in force has some.
    pub addresses: Vec<Address>,
    /// Whether to tell peers all of them; servers before 3.6 close such connections
    /// (`zookeeper.multiAddress.enabled`).
    pub multi_address_enabled: bool,
    /// How long a peer may take to say who it is (Java: `tickTime * syncLimit`, or
    /// `zookeeper.quorumCnxnTimeoutMs`).
    pub handshake_timeout_ms: u64,
}

/// What happens to links.
#[derive(Debug, Clone)]
pub enum LinksInput<'a> {
    /// Where this server and the others are by now: a configuration may have moved them.
    Addresses(Addresses),
    /// Send a message; it takes the place of one that still waits.
    Send {
        /// To whom.
        to: ServerId,
        /// The message, without its length.
        message: Arc<[u8]>,
    },
    /// A dial succeeded.
    Dialled {
        /// Who was dialled.
        peer: ServerId,
        /// The new connection.
        connection: ConnectionId,
    },
    /// None of a dial's addresses answered in time.
    DialFailed(ServerId),
    /// Somebody connected.
    Accepted(ConnectionId),
    /// Bytes came.
    Received {
        /// On which connection.
        connection: ConnectionId,
        /// In any pieces.
        bytes: &'a [u8],
    },
    /// All bytes of the last [`LinksEffect::Write`] are written.
    Written(ConnectionId),
    /// A connection ended, or could not be written.
    Closed(ConnectionId),
    /// The time of [`Links::deadline_ms`] has come.
    Tick,
}

/// What to do for links, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinksEffect {
    /// Connect to any of these addresses, their names resolved now; answer with
    /// [`LinksInput::Dialled`] or [`LinksInput::DialFailed`].
    Dial {
        /// To whom.
        peer: ServerId,
        /// Best first.
        addresses: Vec<Address>,
    },
    /// Write bytes, in one piece.
    Write {
        /// On which connection.
        connection: ConnectionId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Close a connection once all is written.
    Finish(ConnectionId),
    /// Close a connection; nothing is reported of it any more.
    Close(ConnectionId, CloseReason),
    /// A message for the election.
    Deliver {
        /// From whom.
        from: ServerId,
        /// The message, without its length.
        message: Vec<u8>,
    },
    /// There is a new link to a peer.
    PeerUp(ServerId),
    /// A peer cannot be reached now.
    PeerDown(ServerId),
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// A newer connection of the same peer took its place.
    #[error("replaced by a newer connection")]
    Replaced,
    /// The peer has the smaller id: it is called back.
    #[error("the peer has the smaller id and is called back")]
    CalledBack,
    /// It has this server's id.
    #[error("the peer has this server's own id")]
    OwnId,
    /// Its first message is none.
    #[error("malformed first message")]
    BadHello,
    /// It did not say in time who it is.
    #[error("no first message in time")]
    HandshakeTimeout,
    /// Too many connections did not say who they are, or too many servers are not configured.
    #[error("too many strangers")]
    TooMany,
    /// A message of 0 bytes, or of more than [`limits::ELECTION_PACKET_MAX`].
    #[error("message length {0}")]
    BadLength(i32),
}

/// A server on the other side.
#[derive(Debug, Default)]
struct Peer {
    link: Option<ConnectionId>,
    dialling: bool,
    /// The dial is to find out whether the peer is there, after a link has ended.
    probing: bool,
    probed_at_ms: Option<u64>,
    /// When to find it out again, and how often that was done.
    probe_again_at_ms: Option<u64>,
    probes: u32,
    /// Bytes are on their way; the next message waits for them.
    writing: bool,
    queued: Option<Arc<[u8]>>,
    last_sent: Option<Arc<[u8]>>,
    reported: Option<bool>,
}

/// A connection that is read.
#[derive(Debug)]
struct Connection {
    /// `None`: has not said who it is.
    peer: Option<ServerId>,
    accepted_at_ms: u64,
    unread: Vec<u8>,
}

/// The election links of one server.
#[derive(Debug)]
pub struct Links {
    config: LinksConfig,
    addresses: Addresses,
    peers: BTreeMap<ServerId, Peer>,
    connections: BTreeMap<ConnectionId, Connection>,
    next_anonymous: ServerId,
}

/// The election addresses of an ensemble's servers.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// This server's: where it is called back by a peer of a larger id, whatever older place that
    /// knows (Java: `QuorumCnxManager.initiateConnection` with `getElectionAddress`).
    pub own: Vec<Address>,
    /// The others'.
    pub peers: BTreeMap<ServerId, Vec<Address>>,
}

impl Addresses {
    /// Where the members of the committed configuration are, and the others of the proposed one
    /// where that has other addresses: a server moves when the change is committed.
    pub fn of(ensemble: &Ensemble, me: ServerId) -> Addresses {
        let own = ensemble.committed().member(me);
        let own = own.map(|member| &member.addresses[..]).unwrap_or_default();
        let own = own.iter().map(|address| address.election.clone()).collect();
        let mut peers: BTreeMap<ServerId, Vec<Address>> = BTreeMap::new();
        for membership in ensemble.deciding() {
            for (id, member) in membership.members().filter(|(id, _)| *id != me) {
                let known = peers.entry(id).or_default();
                for address in &member.addresses {
                    if !known.contains(&address.election) {
                        known.push(address.election.clone());
                    }
                }
            }
        }
        Addresses { own, peers }
    }
}

impl Links {
    /// No links, and nobody known yet.
    pub fn new(config: LinksConfig) -> Links {
        let own = config.addresses.clone();
        Links {
            config,
            addresses: Addresses { own, peers: BTreeMap::new() },
            peers: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_anonymous: ServerId(-1),
        }
    }

    /// When [`LinksInput::Tick`] is due, in monotonic milliseconds.
    pub fn deadline_ms(&self) -> Option<u64> {
        let strangers = self.connections.values().filter(|connection| connection.peer.is_none());
        let first = strangers.map(|connection| connection.accepted_at_ms).min();
        let first = first.map(|at_ms| at_ms.saturating_add(self.config.handshake_timeout_ms));
        let again = self.peers.values().filter_map(|peer| peer.probe_again_at_ms).min();
        first.into_iter().chain(again).min()
    }

    /// Whether there is a link to a peer.
    pub fn is_up(&self, peer: ServerId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.link.is_some())
    }

    /// Takes one input at the monotonic time `now_ms`.
    pub fn step(&mut self, now_ms: u64, input: LinksInput<'_>, effects: &mut Vec<LinksEffect>) {
        match input {
            LinksInput::Addresses(addresses) => self.move_to(addresses),
            LinksInput::Send { to, message } => self.send(to, message, effects),
            LinksInput::Dialled { peer, connection } => {
                self.dialled(now_ms, peer, connection, effects);
            }
            LinksInput::DialFailed(peer) => self.dial_failed(peer, effects),
            LinksInput::Accepted(connection) => self.accepted(now_ms, connection, effects),
            LinksInput::Received { connection, bytes } => {
                self.received(connection, bytes, effects);
            }
            LinksInput::Written(connection) => self.written(connection, effects),
            LinksInput::Closed(connection) => self.lost(now_ms, connection, effects),
            LinksInput::Tick => self.tick(now_ms, effects),
        }
    }

    fn move_to(&mut self, addresses: Addresses) {
        let before = std::mem::replace(&mut self.addresses, addresses);
        if self.addresses.own.is_empty() {
            // Not in the configuration in force any more, it is still where it was.
            self.addresses.own = before.own;
        }
    }

    fn send(&mut self, to: ServerId, message: Arc<[u8]>, effects: &mut Vec<LinksEffect>) {
        if to == self.config.me || !self.has_room_for(to) {
            return;
        }
        let peer = self.peers.entry(to).or_default();
        peer.queued = Some(message);
        if peer.link.is_some() {
            self.flush(to, effects);
        } else {
            self.dial(to, Vec::new(), effects);
        }
    }

    /// Whether a peer can be remembered; those that nothing is known of any more are forgotten
    /// for it.
    fn has_room_for(&mut self, peer: ServerId) -> bool {
        if self.peers.len() >= PEERS_MAX {
            let addresses = &self.addresses.peers;
            self.peers.retain(|id, peer| {
                addresses.contains_key(id) || peer.link.is_some() || peer.dialling
            });
        }
        self.peers.len() < PEERS_MAX
            || self.peers.contains_key(&peer)
            || self.addresses.peers.contains_key(&peer)
    }

    /// Dials a peer, unless that is under way: first where it says that it is.
    fn dial(&mut self, id: ServerId, told: Vec<Address>, effects: &mut Vec<LinksEffect>) {
        let mut addresses = told;
        for address in self.addresses.peers.get(&id).into_iter().flatten() {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        let peer = self.peers.entry(id).or_default();
        if peer.dialling {
            return;
        }
        if addresses.is_empty() {
            return self.report(id, false, effects);
        }
        peer.dialling = true;
        effects.push(LinksEffect::Dial { peer: id, addresses });
    }

    fn dialled(
        &mut self,
        now_ms: u64,
        id: ServerId,
        connection: ConnectionId,
        effects: &mut Vec<LinksEffect>,
    ) {
        let peer = self.peers.entry(id).or_default();
        peer.dialling = false;
        let probing = std::mem::take(&mut peer.probing);
        let calls_anyway = peer.link.is_some() || probing && peer.queued.is_none();
        let is_larger = id > self.config.me;
        if is_larger && probing && peer.link.is_none() && peer.probes < PROBES_MAX {
            peer.probe_again_at_ms = Some(now_ms.saturating_add(PROBE_AGAIN_MS << peer.probes));
            peer.probes += 1;
        }
        if !(is_larger && calls_anyway) {
            let bytes = hello::greet(&self.config, &self.addresses.own);
            effects.push(LinksEffect::Write { connection, bytes });
        }
        if is_larger {
            effects.push(LinksEffect::Finish(connection));
            return;
        }
        let unread = Vec::new();
        let dialled = Connection { peer: Some(id), accepted_at_ms: now_ms, unread };
        self.connections.insert(connection, dialled);
        self.link(id, connection, effects);
    }

    fn dial_failed(&mut self, id: ServerId, effects: &mut Vec<LinksEffect>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.dialling = false;
        peer.probing = false;
        peer.probe_again_at_ms = None;
        if peer.link.is_none() {
            self.report(id, false, effects);
        }
    }

    fn accepted(&mut self, now_ms: u64, id: ConnectionId, effects: &mut Vec<LinksEffect>) {
        let strangers = self.connections.iter().filter(|(_, stranger)| stranger.peer.is_none());
        let strangers: Vec<(u64, ConnectionId)> =
            strangers.map(|(id, stranger)| (stranger.accepted_at_ms, *id)).collect();
        if let (true, Some((_, oldest))) =
            (strangers.len() >= STRANGERS_MAX, strangers.iter().min())
        {
            self.close(*oldest, CloseReason::TooMany, effects);
        }
        let unread = Vec::new();
        self.connections.insert(id, Connection { peer: None, accepted_at_ms: now_ms, unread });
    }

    /// Makes a connection the link to a peer, in the place of an older one.
    fn link(&mut self, id: ServerId, connection: ConnectionId, effects: &mut Vec<LinksEffect>) {
        let peer = self.peers.entry(id).or_default();
        let old = peer.link.replace(connection);
        peer.writing = false;
        peer.probe_again_at_ms = None;
        if peer.queued.is_none() {
            peer.queued = peer.last_sent.clone();
        }
        if let Some(old) = old {
            self.connections.remove(&old);
            effects.push(LinksEffect::Close(old, CloseReason::Replaced));
        }
        // A new link is told each time: the peer may have missed what went over the old one.
        self.peers.entry(id).or_default().reported = None;
        self.report(id, true, effects);
        self.flush(id, effects);
    }

    fn report(&mut self, id: ServerId, up: bool, effects: &mut Vec<LinksEffect>) {
        let peer = self.peers.entry(id).or_default();
        if peer.reported.replace(up) != Some(up) {
            effects.push(if up { LinksEffect::PeerUp(id) } else { LinksEffect::PeerDown(id) });
        }
    }

    /// Sends what waits, one message at a time.
    fn flush(&mut self, id: ServerId, effects: &mut Vec<LinksEffect>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(connection) = peer.link.filter(|_| !peer.writing) else { return };
        let Some(message) = peer.queued.take() else { return };
        let len = u32::try_from(message.len()).expect("a notification is no longer than its text");
        let mut bytes = Vec::with_capacity(4 + message.len());
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&message);
        peer.writing = true;
        peer.last_sent = Some(message);
        effects.push(LinksEffect::Write { connection, bytes });
    }

    fn written(&mut self, connection: ConnectionId, effects: &mut Vec<LinksEffect>) {
        let Some(id) = self.connections.get(&connection).and_then(|open| open.peer) else { return };
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.link == Some(connection)) {
            peer.writing = false;
            self.flush(id, effects);
        }
    }

    fn closed(&mut self, connection: ConnectionId, effects: &mut Vec<LinksEffect>) {
        let Some(id) = self.connections.remove(&connection).and_then(|open| open.peer) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.link == Some(connection)) {
            peer.link = None;
            peer.writing = false;
            if !peer.dialling {
                self.report(id, false, effects);
            }
        }
    }

    /// A connection ended, and not by this server: if it was the link to a peer, that is dialled
    /// to see whether it is there.
    fn lost(&mut self, now_ms: u64, connection: ConnectionId, effects: &mut Vec<LinksEffect>) {
        let Some(id) = self.connections.get(&connection).and_then(|open| open.peer) else {
            self.connections.remove(&connection);
            return;
        };
        let peer = self.peers.get_mut(&id).filter(|peer| peer.link == Some(connection));
        let Some(peer) = peer.filter(|peer| !peer.dialling) else {
            return self.closed(connection, effects);
        };
        let before_ms = peer.probed_at_ms;
        if before_ms.is_some_and(|at_ms| now_ms < at_ms.saturating_add(PROBE_PAUSE_MS)) {
            return self.closed(connection, effects);
        }
        peer.probed_at_ms = Some(now_ms);
        peer.probes = 0;
        peer.probing = true;
        peer.link = None;
        peer.writing = false;
        self.connections.remove(&connection);
        self.dial(id, Vec::new(), effects);
    }

    fn close(
        &mut self,
        connection: ConnectionId,
        reason: CloseReason,
        effects: &mut Vec<LinksEffect>,
    ) {
        self.closed(connection, effects);
        effects.push(LinksEffect::Close(connection, reason));
    }

    fn tick(&mut self, now_ms: u64, effects: &mut Vec<LinksEffect>) {
        let timeout_ms = self.config.handshake_timeout_ms;
        let late = |stranger: &Connection| {
            stranger.peer.is_none() && now_ms >= stranger.accepted_at_ms.saturating_add(timeout_ms)
        };
        let late: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| late(connection))
            .map(|(id, _)| *id)
            .collect();
        for connection in late {
            self.close(connection, CloseReason::HandshakeTimeout, effects);
        }
        let due = |peer: &Peer| peer.probe_again_at_ms.is_some_and(|at_ms| now_ms >= at_ms);
        let silent = self.peers.iter().filter(|(_, peer)| due(peer)).map(|(id, _)| *id);
        for id in silent.collect::<Vec<ServerId>>() {
            let peer = self.peers.entry(id).or_default();
            peer.probe_again_at_ms = None;
            if peer.link.is_none() && !peer.dialling {
                peer.probing = true;
                self.dial(id, Vec::new(), effects);
            }
        }
    }

    fn received(&mut self, id: ConnectionId, bytes: &[u8], effects: &mut Vec<LinksEffect>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut unread = std::mem::take(&mut connection.unread);
        unread.extend_from_slice(bytes);
        let mut at = 0;
        if connection.peer.is_none() {
            match Hello::read(&unread) {
                Greeting::Incomplete => {}
                Greeting::Bad => return self.close(id, CloseReason::BadHello, effects),
                Greeting::Complete(hello, len) => {
                    at = len;
                    self.introduce(id, hello, effects);
                }
            }
        }
        let Some(peer) = self.connections.get(&id).map(|connection| connection.peer) else {
            return;
        };
        if let Some(from) = peer {
            match deliver_frames(&unread[at..], from, effects) {
                Ok(len) => at += len,
                Err(reason) => return self.close(id, reason, effects),
            }
        }
        unread.drain(..at);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.unread = unread;
        }
    }

    /// A connection said who it is.
    fn introduce(&mut self, id: ConnectionId, hello: Hello, effects: &mut Vec<LinksEffect>) {
        let mut peer = hello.peer;
        if peer == ANONYMOUS {
            peer = self.next_anonymous;
            self.next_anonymous = ServerId(peer.0.saturating_sub(1));
        }
        if peer == self.config.me {
            return self.close(id, CloseReason::OwnId, effects);
        }
        if !self.has_room_for(peer) {
            return self.close(id, CloseReason::TooMany, effects);
        }
        if peer > self.config.me {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.peer = Some(peer);
            }
            return self.link(peer, id, effects);
        }
        let entry = self.peers.entry(peer).or_default();
        let old = entry.link.take();
        entry.writing = false;
        if let Some(old) = old {
            self.connections.remove(&old);
            effects.push(LinksEffect::Close(old, CloseReason::Replaced));
        }
        self.close(id, CloseReason::CalledBack, effects);
        self.dial(peer, hello.addresses, effects);
    }
}

/// Delivers every complete message; says how many bytes they took.
fn deliver_frames(
    bytes: &[u8],
    from: ServerId,
    effects: &mut Vec<LinksEffect>,
) -> Result<usize, CloseReason> {
    let mut at = 0;
    while let Some((head, rest)) = bytes[at..].split_first_chunk::<4>() {
        let len = i32::from_be_bytes(*head);
        let bounded = usize::try_from(len).ok();
        let Some(len) = bounded.filter(|len| (1..=limits::ELECTION_PACKET_MAX).contains(len))
        else {
            return Err(CloseReason::BadLength(len));
        };
        let Some(message) = rest.get(..len) else { break };
        effects.push(LinksEffect::Deliver { from, message: message.to_vec() });
        at += 4 + len;
    }
    Ok(at)
}
