//! Which sessions are alive, where they are connected and when they expire (Java:
//! `SessionTrackerImpl`, `ExpiryQueue`).
//!
//! A session expires at the end of the tick in which its timeout ends. A touch only notes the new
//! end; a session stands in the bucket of an earlier end until that bucket is due, and moves on
//! then. So a touch costs a store, however many sessions there are.
//!
//! A learner keeps only the sessions that are connected to it, and tells the leader which it heard
//! of (Java: `LearnerSessionTracker`); none of them expires there.

use std::collections::BTreeMap;

use rookeeper_jute::mutation::{self, Mutation};
use rookeeper_jute::{ErrorCode, SessionId};
use rookeeper_zab::links::ConnectionId;

use super::closed::Closed;
use crate::ids::{ConnectionKey, SessionKey};

/// Where a session is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nowhere that this server knows of: whoever speaks for it first owns it.
    Nobody,
    /// To this server until its connection ended. What a learner still sends in its name was asked
    /// before it came here; the learner that it goes to says so first (Java keeps `ServerCnxn.me`).
    Left,
    /// To this server.
    Here(ConnectionKey),
    /// To the learner behind this link.
    Learner(ConnectionId),
}

impl Owner {
    /// The connection of a session that is connected here.
    pub(super) fn connection(self) -> Option<ConnectionKey> {
        match self {
            Owner::Here(connection) => Some(connection),
            Owner::Nobody | Owner::Left | Owner::Learner(_) => None,
        }
    }
}

#[derive(Debug)]
struct Session {
    generation: u32,
    /// `None` in a free place.
    id: Option<SessionId>,
    timeout_ms: i32,
    /// Closed or expired already, but for the transaction that says so.
    closing: bool,
    owner: Owner,
    /// Known to this server alone, which expires it.
    local: bool,
    /// Heard of since the last [`Sessions::take_touches`]; learners only.
    touched: bool,
    /// The end of the tick in which it expires, by the monotonic clock.
    expires_ms: u64,
    /// The bucket that it stands in: of that end or an earlier one. Entries for it in other buckets
    /// mean nothing.
    bucket_ms: u64,
}

/// All live sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    tick_ms: u64,
    /// Whether sessions expire here: not on a learner.
    expires: bool,
    /// Sessions heard of, on a learner.
    touches: Vec<(SessionKey, SessionId, i32)>,
    places: Vec<Session>,
    free: Vec<u32>,
    by_id: BTreeMap<SessionId, u32>,
    /// Sessions to look at when a time has come.
    buckets: BTreeMap<u64, Vec<SessionKey>>,
    next_id: i64,
    /// The sessions of all servers that have ended, where they are remembered.
    closed: Option<Closed>,
}

/// The first id that a server gives (Java: `initializeNextSessionId`): the server in the high
/// byte, then five bytes of time, then zeros. Java takes the time since the machine started, which
/// comes again after the next start; the wall clock does not.
fn first_id(server_id: i64, wall_ms: i64) -> i64 {
    let id = (((wall_ms as u64) << 24) >> 8) as i64 | server_id.wrapping_shl(56);
    if id == i64::MIN { id + 1 } else { id }
}

impl Sessions {
    pub(super) fn new(tick_ms: u32, server_id: i64, wall_ms: i64) -> Self {
        Sessions {
            tick_ms: u64::from(tick_ms.max(1)),
            expires: true,
            touches: Vec::new(),
            places: Vec::new(),
            free: Vec::new(),
            by_id: BTreeMap::new(),
            buckets: BTreeMap::new(),
            next_id: first_id(server_id, wall_ms),
            closed: None,
        }
    }

    /// From now on the ends of sessions that all servers know are remembered.
    pub(super) fn remember_closed(&mut self) {
        self.closed = Some(Closed::default());
    }

    /// Whether a session that all servers knew is remembered to have ended.
    pub(super) fn has_ended(&self, id: SessionId) -> bool {
        self.closed.as_ref().is_some_and(|closed| closed.has(id))
    }

    /// From now on no session expires here; those that are heard of are taken note of.
    pub(super) fn do_not_expire(&mut self) {
        self.expires = false;
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The id that the next new session gets.
    pub(super) fn next_id(&self) -> SessionId {
        SessionId(self.next_id)
    }

    /// Goes on with the ids of an earlier table of this server.
    pub(super) fn continue_ids(&mut self, next: SessionId) {
        self.next_id = next.0;
    }

    /// A new session. `is_taken` says which ids are in use elsewhere.
    pub(super) fn create(
        &mut self,
        timeout_ms: i32,
        owner: ConnectionKey,
        now_ms: u64,
        is_taken: impl Fn(SessionId) -> bool,
    ) -> (SessionKey, SessionId) {
        let taken = |id: SessionId| self.by_id.contains_key(&id) || is_taken(id);
        let mut id = SessionId(self.next_id);
        while taken(id) {
            id = SessionId(id.0.wrapping_add(1));
        }
        self.next_id = id.0.wrapping_add(1);
        let key = self.track(id, timeout_ms, now_ms);
        self.places[key.index as usize].owner = Owner::Here(owner);
        (key, id)
    }

    /// Makes a session that was just created one that only this server knows of.
    pub(super) fn make_local(&mut self, key: SessionKey) {
        let expires = self.expires;
        let Some(session) = self.get_mut(key) else { return };
        session.local = true;
        let bucket_ms = session.bucket_ms;
        if !expires {
            self.buckets.entry(bucket_ms).or_default().push(key);
        }
    }

    /// Whether only this server knows of a session.
    pub(super) fn is_local(&self, id: SessionId) -> bool {
        self.find(id).and_then(|key| self.get(key)).is_some_and(|session| session.local)
    }

    /// How many sessions only this server knows of.
    pub(super) fn locals(&self) -> usize {
        self.places.iter().filter(|session| session.id.is_some() && session.local).count()
    }

    /// All servers are told of a session; returns its timeout in milliseconds.
    pub(super) fn upgrade(&mut self, id: SessionId) -> Option<i32> {
        let key = self.find(id)?;
        let session = self.get_mut(key).filter(|session| session.local)?;
        session.local = false;
        let timeout_ms = session.timeout_ms;
        if !self.expires {
            self.note(key);
        }
        Some(timeout_ms)
    }

    /// A session that a learner made; where it is known already, it belongs to the learner now.
    pub(super) fn created_at(
        &mut self,
        learner: ConnectionId,
        id: SessionId,
        timeout_ms: i32,
        now_ms: u64,
    ) {
        if self.find(id).is_none() {
            self.track(id, timeout_ms, now_ms);
        }
        // A session that is closing stays with whoever had it.
        let _ = self.resume(id, Owner::Learner(learner), timeout_ms, now_ms);
    }

    /// Takes up a session with its full timeout (after a start, every session of the tree).
    pub(super) fn track(&mut self, id: SessionId, timeout_ms: i32, now_ms: u64) -> SessionKey {
        let expires_ms = self.round_up(now_ms, timeout_ms);
        let session = Session {
            generation: 0,
            id: Some(id),
            timeout_ms,
            closing: false,
            owner: Owner::Nobody,
            local: false,
            touched: false,
            expires_ms,
            bucket_ms: expires_ms,
        };
        let index = match self.free.pop() {
            Some(index) => {
                let place = &mut self.places[index as usize];
                *place = Session { generation: place.generation.wrapping_add(1), ..session };
                index
            }
            None => {
                self.places.push(session);
                u32::try_from(self.places.len() - 1).expect("fewer than 2^32 sessions")
            }
        };
        let before = self.by_id.insert(id, index);
        assert!(before.is_none(), "a session is tracked once");
        let key = SessionKey { index, generation: self.places[index as usize].generation };
        if self.expires {
            self.buckets.entry(expires_ms).or_default().push(key);
        }
        key
    }

    pub(super) fn find(&self, id: SessionId) -> Option<SessionKey> {
        let index = *self.by_id.get(&id)?;
        Some(SessionKey { index, generation: self.places[index as usize].generation })
    }

    #[inline]
    fn get(&self, key: SessionKey) -> Option<&Session> {
        let place = self.places.get(key.index as usize)?;
        (place.generation == key.generation && place.id.is_some()).then_some(place)
    }

    #[inline]
    fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        let place = self.places.get_mut(key.index as usize)?;
        (place.generation == key.generation && place.id.is_some()).then_some(place)
    }

    /// The id of a session that is neither closed nor expired, where `connection` is where it is
    /// connected.
    #[inline]
    pub(super) fn check(&self, key: SessionKey, connection: ConnectionKey) -> Option<SessionId> {
        let session = self.get(key)?;
        (!session.closing && session.owner == Owner::Here(connection)).then_some(session.id)?
    }

    /// Whether a learner may ask for something in a session's name (Java:
    /// `SessionTrackerImpl.checkSession`); a session that nobody owns becomes the learner's.
    ///
    /// # Errors
    /// SessionExpired or SessionMoved.
    pub(super) fn check_learner(
        &mut self,
        id: SessionId,
        learner: ConnectionId,
    ) -> Result<(), ErrorCode> {
        let key = self.find(id).ok_or(ErrorCode::SessionExpired)?;
        let session = self.get_mut(key).ok_or(ErrorCode::SessionExpired)?;
        if session.closing {
            return Err(ErrorCode::SessionExpired);
        }
        if mutation::is_on(Mutation::OwnerUnchecked) {
            return Ok(());
        }
        if session.owner == Owner::Nobody {
            session.owner = Owner::Learner(learner);
        }
        if session.owner == Owner::Learner(learner) { Ok(()) } else { Err(ErrorCode::SessionMoved) }
    }

    /// The negotiated timeout of a session.
    pub(super) fn timeout_ms(&self, key: SessionKey) -> Option<u64> {
        self.get(key).map(|session| u64::try_from(session.timeout_ms).unwrap_or(0))
    }

    /// The client was heard of; `false` where the session is closed or expired.
    #[inline]
    pub(super) fn touch(&mut self, key: SessionKey, at_ms: u64) -> bool {
        let tick_ms = self.tick_ms;
        let expires = self.expires;
        let Some(session) = self.get_mut(key) else { return false };
        if session.closing {
            return false;
        }
        let expires_ms = round_up(tick_ms, at_ms, session.timeout_ms);
        if expires_ms > session.expires_ms {
            session.expires_ms = expires_ms;
        }
        if !expires && !session.local {
            self.note(key);
        }
        true
    }

    /// The leader is to hear of a session.
    #[inline]
    fn note(&mut self, key: SessionKey) {
        let Some(session) = self.get_mut(key) else { return };
        if !std::mem::replace(&mut session.touched, true) {
            let touch = session.id.map(|id| (key, id, session.timeout_ms));
            self.touches.extend(touch);
        }
    }

    /// A learner heard of a session; unknown and closed ones are none of its business any longer.
    pub(super) fn touch_from_learner(&mut self, id: SessionId, timeout_ms: i32, now_ms: u64) {
        let tick_ms = self.tick_ms;
        let Some(session) = self.find(id).and_then(|key| self.get_mut(key)) else { return };
        let expires_ms = round_up(tick_ms, now_ms, timeout_ms);
        if expires_ms > session.expires_ms {
            session.expires_ms = expires_ms;
        }
    }

    /// The sessions heard of since the last call, with their timeouts in milliseconds.
    pub(super) fn take_touches(&mut self) -> Vec<(SessionId, i32)> {
        let touches = std::mem::take(&mut self.touches);
        for (key, _, _) in &touches {
            if let Some(session) = self.get_mut(*key) {
                session.touched = false;
            }
        }
        touches.into_iter().map(|(_, id, timeout_ms)| (id, timeout_ms)).collect()
    }

    /// Connects a session elsewhere, with a timeout of its own; `Err` where the session is unknown,
    /// closed or expired.
    pub(super) fn resume(
        &mut self,
        id: SessionId,
        owner: Owner,
        timeout_ms: i32,
        now_ms: u64,
    ) -> Result<SessionKey, ()> {
        let key = self.find(id).ok_or(())?;
        let (tick_ms, expires) = (self.tick_ms, self.expires);
        let session = self.get_mut(key).ok_or(())?;
        if session.closing {
            return Err(());
        }
        session.owner = owner;
        session.timeout_ms = timeout_ms;
        let expires_ms = round_up(tick_ms, now_ms, timeout_ms);
        session.expires_ms = expires_ms;
        if expires_ms < session.bucket_ms && (expires || session.local) {
            session.bucket_ms = expires_ms;
            self.buckets.entry(expires_ms).or_default().push(key);
        }
        Ok(key)
    }

    /// Where a session is connected, if that is here.
    pub(super) fn connection(&self, id: SessionId) -> Option<ConnectionKey> {
        self.get(self.find(id)?)?.owner.connection()
    }

    /// A connection is gone.
    pub(super) fn disconnected(&mut self, key: SessionKey, connection: ConnectionKey) {
        let Some(session) = self.get_mut(key) else { return };
        if session.owner != Owner::Here(connection) {
            return;
        }
        session.owner = Owner::Left;
        let id = session.id.filter(|_| !session.local);
        if !self.expires
            && let Some(id) = id
        {
            self.remove(id);
        }
    }

    /// The session is closed, but for the transaction that says so.
    pub(super) fn set_closing(&mut self, key: SessionKey) {
        if let Some(session) = self.get_mut(key) {
            session.closing = true;
        }
    }

    /// The transaction that closes a session was applied; returns where it was connected
    /// here.
    pub(super) fn remove(&mut self, id: SessionId) -> Option<ConnectionKey> {
        let index = self.by_id.remove(&id)?;
        let session = &mut self.places[index as usize];
        session.id = None;
        self.free.push(index);
        if let Some(closed) = &mut self.closed
            && !session.local
        {
            closed.ended(id);
        }
        std::mem::replace(&mut session.owner, Owner::Nobody).connection()
    }

    /// The sessions that have expired, in the order of their ends; from now on they are closing.
    /// `heard_up_to_ms` says up to when touches over a connection are known: a session is kept a
    /// tick longer at most while the touches before its end are not.
    pub(super) fn expire(
        &mut self,
        now_ms: u64,
        heard_up_to_ms: impl Fn(ConnectionKey) -> u64,
    ) -> Vec<SessionId> {
        let mut expired = Vec::new();
        let mut later = Vec::new();
        let expires = self.expires;
        while let Some(entry) = self.buckets.first_entry() {
            if *entry.key() > now_ms {
                break;
            }
            let (bucket_ms, keys) = entry.remove_entry();
            for key in keys {
                let tick_ms = self.tick_ms;
                let Some(session) = self.get_mut(key) else { continue };
                let elsewhere = !expires && !session.local;
                if session.closing || elsewhere || session.bucket_ms != bucket_ms {
                    continue;
                }
                if session.expires_ms > bucket_ms {
                    session.bucket_ms = session.expires_ms;
                    later.push((session.expires_ms, key));
                    continue;
                }
                let unheard = session
                    .owner
                    .connection()
                    .is_some_and(|owner| heard_up_to_ms(owner) < bucket_ms);
                if unheard && now_ms < bucket_ms + tick_ms {
                    later.push((bucket_ms, key));
                    continue;
                }
                session.closing = true;
                expired.extend(session.id);
            }
        }
        for (bucket_ms, key) in later {
            self.buckets.entry(bucket_ms).or_default().push(key);
        }
        expired
    }

    /// The ends of ticks at which sessions expire, with the sessions (four-letter word `dump`).
    pub(super) fn expiry(&self, local: bool) -> BTreeMap<u64, Vec<SessionId>> {
        let mut expiry = BTreeMap::<u64, Vec<SessionId>>::new();
        for (id, index) in &self.by_id {
            let session = &self.places[*index as usize];
            if session.local != local {
                continue;
            }
            expiry.entry(session.expires_ms).or_default().push(*id);
        }
        expiry
    }

    fn round_up(&self, now_ms: u64, timeout_ms: i32) -> u64 {
        round_up(self.tick_ms, now_ms, timeout_ms)
    }
}

/// The end of the tick in which a timeout that starts at `now_ms` ends (Java:
/// `roundToNextInterval`).
fn round_up(tick_ms: u64, now_ms: u64, timeout_ms: i32) -> u64 {
    let end_ms = now_ms + u64::try_from(timeout_ms).unwrap_or(0);
    (end_ms / tick_ms + 1) * tick_ms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    fn connection(index: u32) -> ConnectionKey {
        ConnectionKey { index, generation: 0, shard: ShardId(0) }
    }

    fn free(_: SessionId) -> bool {
        false
    }

    #[test]
    fn ids_carry_the_server_and_the_time() {
        let id = first_id(3, 0x0000_0198_1234_5678);
        assert_eq!(id, 0x0398_1234_5678_0000);
        assert_eq!(first_id(0x80, 0), i64::MIN + 1);
        assert_eq!(first_id(-1, 0) as u64 >> 56, 0xff, "only the low byte of the server counts");
    }

    #[test]
    fn a_session_expires_at_the_end_of_its_tick_and_not_while_it_is_touched() {
        let mut sessions = Sessions::new(1000, 1, 0);
        let heard = |_| u64::MAX;
        let (key, id) = sessions.create(4500, connection(0), 100, free);
        assert_eq!(sessions.expire(4999, heard), []);
        assert!(sessions.touch(key, 4999));
        assert_eq!(sessions.expire(5000, heard), [], "touched in time");
        assert_eq!(sessions.expire(9999, heard), []);
        assert_eq!(sessions.expire(10_000, heard), [id]);
        assert!(!sessions.touch(key, 10_000), "it is closing");
        assert_eq!(sessions.expire(99_000, heard), [], "once");
        assert_eq!(sessions.remove(id), Some(connection(0)));
        assert_eq!(sessions.len(), 0);
    }

    #[test]
    fn a_session_whose_touches_are_not_known_yet_is_kept_a_tick_longer() {
        let mut sessions = Sessions::new(1000, 1, 0);
        let (_, id) = sessions.create(2000, connection(0), 0, free);
        assert_eq!(sessions.expire(3000, |_| 2999), []);
        assert_eq!(sessions.expire(3999, |_| 2999), []);
        assert_eq!(sessions.expire(4000, |_| 2999), [id]);
        let (_, id) = sessions.create(2000, connection(0), 4000, free);
        assert_eq!(sessions.expire(7000, |_| 7000), [id]);
    }

    #[test]
    fn a_resumed_session_takes_the_timeout_of_its_new_connection() {
        let mut sessions = Sessions::new(1000, 1, 0);
        let heard = |_| u64::MAX;
        let (key, id) = sessions.create(30_000, connection(0), 0, free);
        assert_eq!(sessions.check(key, connection(0)), Some(id));
        assert_eq!(sessions.resume(id, Owner::Here(connection(1)), 2000, 0), Ok(key));
        assert_eq!(sessions.check(key, connection(0)), None, "it moved");
        assert_eq!(sessions.check(key, connection(1)), Some(id));
        assert_eq!(sessions.expire(3000, heard), [id]);
        assert_eq!(sessions.resume(id, Owner::Here(connection(2)), 2000, 3000), Err(()));
    }

    #[test]
    fn a_learner_speaks_for_the_sessions_that_it_owns_or_that_nobody_does() {
        let mut sessions = Sessions::new(1000, 1, 0);
        let (one, two) = (ConnectionId(1), ConnectionId(2));
        let id = SessionId(7);
        assert_eq!(sessions.check_learner(id, one), Err(ErrorCode::SessionExpired));
        sessions.created_at(one, id, 4000, 0);
        assert_eq!(sessions.check_learner(id, one), Ok(()));
        assert_eq!(sessions.check_learner(id, two), Err(ErrorCode::SessionMoved));
        assert!(sessions.resume(id, Owner::Learner(two), 4000, 0).is_ok());
        assert_eq!(sessions.check_learner(id, one), Err(ErrorCode::SessionMoved));
        sessions.touch_from_learner(id, 4000, 3000);
        assert_eq!(sessions.expire(7999, |_| 0), []);
        assert_eq!(sessions.expire(8000, |_| 0), [id]);
        assert_eq!(sessions.check_learner(id, two), Err(ErrorCode::SessionExpired), "closing");
        let orphan = SessionId(8);
        sessions.track(orphan, 4000, 8000);
        assert_eq!(sessions.check_learner(orphan, one), Ok(()), "of an epoch before");
        assert_eq!(sessions.check_learner(orphan, two), Err(ErrorCode::SessionMoved));
    }

    #[test]
    fn a_learner_tells_each_session_once_and_lets_none_expire() {
        let mut sessions = Sessions::new(1000, 1, 0);
        sessions.do_not_expire();
        let (key, id) = sessions.create(4000, connection(0), 0, free);
        assert!(sessions.touch(key, 10) && sessions.touch(key, 20));
        assert_eq!(sessions.take_touches(), [(id, 4000)]);
        assert_eq!(sessions.take_touches(), []);
        assert!(sessions.touch(key, 30));
        sessions.disconnected(key, connection(0));
        assert_eq!(sessions.len(), 0, "it is connected nowhere here");
        assert_eq!(sessions.take_touches(), [(id, 4000)], "but was heard of");
        assert_eq!(sessions.expire(1_000_000, |_| 0), []);
    }

    #[test]
    fn an_id_in_use_elsewhere_is_not_given_again() {
        let mut sessions = Sessions::new(1000, 1, 0);
        let next = sessions.next_id();
        let (_, id) = sessions.create(4000, connection(0), 0, |id| id == next);
        assert_eq!(id, SessionId(next.0 + 1));
    }
}
