//! What a znode's stored owner means, and the znodes that somebody has to look after: the
//! ephemerals of each session, containers, and znodes with a time to live.

use std::collections::{BTreeMap, BTreeSet};

use rookeeper_jute::SessionId;

use crate::znodes::NodeId;

/// The stored owner of a container (Java: `EphemeralType.CONTAINER_EPHEMERAL_OWNER`).
pub const CONTAINER_OWNER: i64 = i64::MIN;
/// The mark of extended types in a stored owner (Java: `EphemeralType.EXTENDED_MASK`).
pub const EXTENDED_MASK: i64 = 0xff00_0000_0000_0000_u64 as i64;
/// The bits of a stored owner that name an extended type; 0 is a time to live.
pub const EXTENDED_TYPE_MASK: i64 = 0x00ff_ff00_0000_0000;
/// Largest time to live in milliseconds, and the mask of its bits.
pub const TTL_MS_MAX: i64 = 0xff_ffff_ffff;

/// What the stored owner of a znode says (Java: `EphemeralType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerKind {
    /// Nobody: the znode is persistent.
    Persistent,
    /// A session: the znode is ephemeral.
    Ephemeral(SessionId),
    /// The znode is a container.
    Container,
    /// The znode has a time to live, in milliseconds.
    Ttl(i64),
    /// An extended type that Java 3.9 does not know; only where extended types are enabled.
    Unknown,
}

/// Which meanings are enabled: `zookeeper.extendedTypesEnabled` and
/// `zookeeper.emulate353TTLNodes`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnerRules {
    /// Whether times to live are understood.
    pub extended_types_enabled: bool,
    /// Whether the encoding of 3.5.3 is understood as well.
    pub emulate_353_ttl_nodes: bool,
}

impl OwnerRules {
    /// What `owner` means under these rules (Java: `EphemeralType.get`).
    pub fn kind(self, owner: i64) -> OwnerKind {
        if self.extended_types_enabled {
            if self.emulate_353_ttl_nodes && owner < 0 && owner != CONTAINER_OWNER {
                return OwnerKind::Ttl(owner & TTL_MS_MAX);
            }
            if owner & EXTENDED_MASK == EXTENDED_MASK {
                return match owner & EXTENDED_TYPE_MASK {
                    0 => OwnerKind::Ttl(owner & TTL_MS_MAX),
                    _ => OwnerKind::Unknown,
                };
            }
        }
        match owner {
            CONTAINER_OWNER => OwnerKind::Container,
            0 => OwnerKind::Persistent,
            session => OwnerKind::Ephemeral(SessionId(session)),
        }
    }

    /// The owner that a client sees in a Stat: the session of an ephemeral, else 0.
    pub fn visible(self, owner: i64) -> SessionId {
        match self.kind(owner) {
            OwnerKind::Ephemeral(session) => session,
            _ => SessionId(0),
        }
    }
}

/// Indexes of the znodes whose stored owner is not 0. All are ordered, so that every server goes
/// through them alike.
#[derive(Debug, Default)]
pub struct Owners {
    rules: OwnerRules,
    ephemerals: BTreeMap<SessionId, BTreeSet<NodeId>>,
    ephemerals_len: usize,
    containers: BTreeSet<NodeId>,
    ttls: BTreeSet<NodeId>,
}

impl Owners {
    /// No znodes yet.
    pub fn new(rules: OwnerRules) -> Self {
        Owners { rules, ..Owners::default() }
    }

    /// The rules by which owners are read.
    pub fn rules(&self) -> OwnerRules {
        self.rules
    }

    /// Notes a new znode.
    pub fn insert(&mut self, owner: i64, id: NodeId) {
        if owner == 0 {
            return;
        }
        match self.rules.kind(owner) {
            OwnerKind::Ephemeral(session) => {
                if self.ephemerals.entry(session).or_default().insert(id) {
                    self.ephemerals_len += 1;
                }
            }
            OwnerKind::Container => drop(self.containers.insert(id)),
            OwnerKind::Ttl(_) => drop(self.ttls.insert(id)),
            OwnerKind::Persistent | OwnerKind::Unknown => {}
        }
    }

    /// Forgets a znode that is being deleted.
    pub fn remove(&mut self, owner: i64, id: NodeId) {
        if owner == 0 {
            return;
        }
        match self.rules.kind(owner) {
            OwnerKind::Ephemeral(session) => {
                let Some(ids) = self.ephemerals.get_mut(&session) else { return };
                if ids.remove(&id) {
                    self.ephemerals_len -= 1;
                }
                if ids.is_empty() {
                    self.ephemerals.remove(&session);
                }
            }
            OwnerKind::Container => drop(self.containers.remove(&id)),
            OwnerKind::Ttl(_) => drop(self.ttls.remove(&id)),
            OwnerKind::Persistent | OwnerKind::Unknown => {}
        }
    }

    /// The ephemeral znodes of a session.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = NodeId> + '_ {
        self.ephemerals.get(&session).into_iter().flatten().copied()
    }

    /// How many ephemeral znodes a session has.
    pub fn ephemerals_of(&self, session: SessionId) -> usize {
        self.ephemerals.get(&session).map_or(0, BTreeSet::len)
    }

    /// How many ephemeral znodes there are.
    pub fn ephemerals_len(&self) -> usize {
        self.ephemerals_len
    }

    /// The sessions that have ephemeral znodes, in id order.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.ephemerals.keys().copied()
    }

    /// The containers.
    pub fn containers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.containers.iter().copied()
    }

    /// The znodes with a time to live.
    pub fn ttls(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.ttls.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: OwnerRules =
        OwnerRules { extended_types_enabled: false, emulate_353_ttl_nodes: false };
    const EXTENDED: OwnerRules =
        OwnerRules { extended_types_enabled: true, emulate_353_ttl_nodes: false };
    const EMULATED: OwnerRules =
        OwnerRules { extended_types_enabled: true, emulate_353_ttl_nodes: true };

    #[test]
    fn extended_owners_are_sessions_where_extended_types_are_off() {
        let ttl = EXTENDED_MASK | 5000;
        assert_eq!(PLAIN.kind(ttl), OwnerKind::Ephemeral(SessionId(ttl)));
        assert_eq!(EXTENDED.kind(ttl), OwnerKind::Ttl(5000));
        assert_eq!(EXTENDED.visible(ttl), SessionId(0));
        assert_eq!(PLAIN.visible(ttl), SessionId(ttl));
    }

    #[test]
    fn containers_need_no_switch_and_unknown_types_are_told() {
        for rules in [PLAIN, EXTENDED, EMULATED] {
            assert_eq!(rules.kind(i64::MIN), OwnerKind::Container);
            assert_eq!(rules.kind(0), OwnerKind::Persistent);
            assert_eq!(rules.kind(7), OwnerKind::Ephemeral(SessionId(7)));
        }
        assert_eq!(EXTENDED.kind(EXTENDED_MASK | (1 << 40)), OwnerKind::Unknown);
    }

    #[test]
    fn the_encoding_of_353_is_a_negative_owner() {
        assert_eq!(EMULATED.kind(i64::MIN | 700), OwnerKind::Ttl(700));
        assert_eq!(EXTENDED.kind(i64::MIN | 700), OwnerKind::Ephemeral(SessionId(i64::MIN | 700)));
    }

    #[test]
    fn sessions_without_ephemerals_are_forgotten() {
        let id = NodeId::from_number;
        let mut owners = Owners::new(PLAIN);
        owners.insert(9, id(1));
        owners.insert(9, id(2));
        owners.insert(i64::MIN, id(3));
        assert_eq!((owners.ephemerals_len(), owners.ephemerals_of(SessionId(9))), (2, 2));
        owners.remove(9, id(1));
        assert_eq!(owners.ephemerals(SessionId(9)).collect::<Vec<_>>(), [id(2)]);
        owners.remove(9, id(2));
        assert_eq!(owners.sessions().count(), 0);
        assert_eq!(owners.containers().collect::<Vec<_>>(), [id(3)]);
    }
}
