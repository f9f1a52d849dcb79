//! Which of its observers, or this server itself, each session is connected to.
//!
//! To the leader they are one owner, so that it refuses nothing that one of them still sends for a
//! session that went on at another one. It is refused here, by the leader's own rules: who asks for
//! a session that lives has it from that question on. An observer that has gone keeps its sessions:
//! until they go on elsewhere, what another observer sends for them is as late as before.
//!
//! What is remembered is bounded by the sessions that live: a session is forgotten with the
//! transaction that ends it. One that only its server knows is never heard of here.

use std::collections::BTreeMap;

use rookeeper_jute::SessionId;
use rookeeper_jute::mutation::{self, Mutation};

use crate::links::ConnectionId;

/// An observer, by its connection; `None` is this server itself.
pub(super) type Place = Option<ConnectionId>;

/// Questions in the order in which the leader gets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Turn(u64);

/// Who has which session.
#[derive(Debug, Default)]
pub(super) struct Owners {
    by_session: BTreeMap<SessionId, (Place, Turn)>,
    last: Turn,
}

impl Owners {
    /// A client goes on with its session there, if the leader lets it in. Where the session is
    /// known here it lives, and has left where it was; another one may be known to one server
    /// alone, to which it belongs whoever asks for it.
    pub(super) fn asked(&mut self, session: SessionId, place: Place) -> Turn {
        let turn = self.next();
        if let Some(owner) = self.by_session.get_mut(&session) {
            *owner = (place, turn);
        }
        turn
    }

    /// The leader let it in where it was asked for at this turn.
    pub(super) fn let_in(&mut self, session: SessionId, place: Place, turn: Turn) {
        let owner = self.by_session.entry(session).or_insert((place, turn));
        if owner.1 < turn {
            *owner = (place, turn);
        }
    }

    /// A session begins there, or all servers are told of it now.
    pub(super) fn created(&mut self, session: SessionId, place: Place) {
        let turn = self.next();
        self.by_session.insert(session, (place, turn));
    }

    /// A session was closed, or has expired.
    pub(super) fn ended(&mut self, session: SessionId) {
        self.by_session.remove(&session);
    }

    /// Whether what comes from there for a session comes after the session has left.
    pub(super) fn is_elsewhere(&self, session: SessionId, place: Place) -> bool {
        if mutation::is_on(Mutation::OwnerUnchecked) {
            return false;
        }
        self.by_session.get(&session).is_some_and(|(owner, _)| *owner != place)
    }

    fn next(&mut self) -> Turn {
        self.last = Turn(self.last.0 + 1);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Place = Some(ConnectionId(1));
    const B: Place = Some(ConnectionId(2));
    const HERE: Place = None;
    const SESSION: SessionId = SessionId(7);

    fn places(owners: &Owners) -> [bool; 3] {
        [A, B, HERE].map(|place| !owners.is_elsewhere(SESSION, place))
    }

    #[test]
    fn a_session_belongs_to_who_asked_for_it_last() {
        let mut owners = Owners::default();
        owners.created(SESSION, A);
        assert_eq!(places(&owners), [true, false, false]);
        let b = owners.asked(SESSION, B);
        assert_eq!(places(&owners), [false, true, false], "the answer is still to come");
        let here = owners.asked(SESSION, HERE);
        owners.let_in(SESSION, B, b);
        assert_eq!(places(&owners), [false, false, true]);
        owners.let_in(SESSION, HERE, here);
        assert_eq!(places(&owners), [false, false, true]);
        owners.ended(SESSION);
        assert_eq!(places(&owners), [true; 3], "the leader knows that it has ended");
        assert!(owners.by_session.is_empty());
    }

    #[test]
    fn a_session_that_comes_from_elsewhere_belongs_to_who_is_let_in() {
        let mut owners = Owners::default();
        let a = owners.asked(SESSION, A);
        let b = owners.asked(SESSION, B);
        assert_eq!(places(&owners), [true; 3], "one of them may know it alone");
        owners.let_in(SESSION, A, a);
        assert_eq!(places(&owners), [true, false, false]);
        owners.let_in(SESSION, B, b);
        assert_eq!(places(&owners), [false, true, false]);
    }

    #[test]
    fn a_session_that_is_known_to_its_server_alone_is_nobody_elses() {
        let mut owners = Owners::default();
        owners.asked(SESSION, B);
        assert_eq!(places(&owners), [true; 3]);
        owners.created(SESSION, A);
        assert_eq!(places(&owners), [true, false, false], "all servers know it now");
    }
}
