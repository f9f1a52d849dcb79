//! Who belongs to the ensemble, who votes, and what a quorum is: one configuration, with its
//! version (Java: `QuorumVerifier` and the text that it writes).

mod address;
mod change;
mod member;
mod order;
mod properties;

use core::fmt;
use std::collections::BTreeMap;

use rookeeper_jute::ServerId;

use crate::quorum::{GroupLine, Hierarchy, QuorumRule};

pub use address::Address;
pub use change::Change;
pub use member::{Member, PeerAddress, Role};

/// Why a text is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Neither `host:port:port[:role]` nor, after it, `;[host:]port`.
    #[error("{0} does not have the form host:port:port[:role][|...][;[host:]port]")]
    WrongForm(Box<str>),
    /// A port that is no number.
    #[error("{0} is not a port")]
    BadPort(Box<str>),
    /// A number that is no port.
    #[error("{0} is not a port: it is out of range")]
    PortOutOfRange(Box<str>),
    /// A number that is none.
    #[error("{0} is not a number")]
    BadNumber(Box<str>),
    /// The quorum port is the election port.
    #[error("quorum port and election port must be different: {0}")]
    EqualPorts(Box<str>),
    /// Neither participant nor observer.
    #[error("unrecognised role: {0}")]
    UnknownRole(Box<str>),
    /// Addresses of one member with different roles.
    #[error("multiple addresses must have one role: {0}")]
    DifferentRoles(Box<str>),
    /// Several addresses, and `zookeeper.multiAddress.enabled` is false.
    #[error("multiple addresses are disabled, but were given")]
    MultiAddressDisabled,
    /// A key that no configuration of an ensemble has.
    #[error("unrecognised parameter: {0}")]
    UnknownKey(Box<str>),
    /// A server in two groups.
    #[error("server {0} is in multiple groups")]
    InSeveralGroups(ServerId),
    /// There are groups, and a participant is in none.
    #[error("server {0} is not in a group")]
    InNoGroup(ServerId),
    /// A group names a server that is no participant and has no weight.
    #[error("group member {0} is no participant")]
    UnknownInGroup(ServerId),
    /// A weight below 0, or a sum of weights beyond 64 bits. (Java takes them, and then finds
    /// quorums that do not intersect.)
    #[error("weights must not be negative, nor their sum above 2^63")]
    BadWeight,
    /// One server would listen where another one does.
    #[error("another server has one of the addresses of {0}")]
    AddressTaken(Box<str>),
    /// An increment to a configuration that has groups.
    #[error("a configuration with groups can only be replaced as a whole")]
    NotMajority,
    /// A text in which nobody votes, or one alone beside observers.
    #[error("observers without a quorum of participants")]
    NoQuorum,
    /// A change that leaves nobody who votes, or one alone.
    #[error("too few participants")]
    TooFewParticipants,
}

impl MembershipError {
    /// Whether Java answers a change like this one with MarshallingError, as it does where its
    /// parser fails in an unforeseen way; everything else is BadArguments.
    pub fn is_unreadable(&self) -> bool {
        use MembershipError::{BadNumber, NoQuorum, PortOutOfRange, UnknownInGroup};
        matches!(self, BadNumber(_) | PortOutOfRange(_) | UnknownInGroup(_) | NoQuorum)
    }
}

/// How to read a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MembershipRules {
    /// `standaloneEnabled`, default true: a text without participants is allowed, a single one
    /// must not have observers. Where false at least one has to vote.
    pub standalone_enabled: bool,
    /// `zookeeper.multiAddress.enabled`, default false.
    pub multi_address_enabled: bool,
}

impl Default for MembershipRules {
    fn default() -> Self {
        MembershipRules { standalone_enabled: true, multi_address_enabled: false }
    }
}

/// A configuration of the ensemble.
#[derive(Debug, Clone)]
pub struct Membership {
    version: i64,
    members: BTreeMap<ServerId, Member>,
    /// The members as Java's hash map iterates.
    order: Vec<ServerId>,
    rule: QuorumRule,
}

impl Membership {
    /// A configuration in which the majority of participants is a quorum.
    pub fn majority(version: i64, members: BTreeMap<ServerId, Member>) -> Membership {
        let mut order: Vec<ServerId> = members.keys().copied().collect();
        order::sort_by_long(&mut order, |id| id.0);
        Membership { version, members, order, rule: QuorumRule::Majority }
    }

    /// Reads a configuration's text: lines `server.N=`, `group.N=`, `weight.N=` and `version=`
    /// (hexadecimal), in any order (Java: `QuorumPeerConfig.parseDynamicConfig`).
    ///
    /// # Errors
    /// Where Java refuses it too; negative weights besides.
    pub fn parse(text: &str, rules: &MembershipRules) -> Result<Membership, MembershipError> {
        let mut draft = Draft::default();
        for (key, value) in properties::read(text) {
            draft.line(&key, &value, rules)?;
        }
        let membership = draft.finish()?;
        membership.check(rules)?;
        Ok(membership)
    }

    fn check(&self, rules: &MembershipRules) -> Result<(), MembershipError> {
        let (voters, observers) = (self.voters().count(), self.observers().count());
        let enough = match voters {
            0 => rules.standalone_enabled && observers == 0,
            1 => !rules.standalone_enabled || observers == 0,
            _ => true,
        };
        if enough { Ok(()) } else { Err(MembershipError::NoQuorum) }
    }

    /// The version: 0 at first, later the zxid of the transaction that made it.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The same configuration with another version (a first leader gives version 0 its own).
    pub fn with_version(mut self, version: i64) -> Membership {
        self.version = version;
        self
    }

    /// A member.
    pub fn member(&self, id: ServerId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// All members, by id.
    pub fn members(&self) -> impl Iterator<Item = (ServerId, &Member)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    /// Who votes, by id.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> {
        self.with_role(Role::Participant)
    }

    /// Who only learns, by id.
    pub fn observers(&self) -> impl Iterator<Item = ServerId> {
        self.with_role(Role::Observer)
    }

    fn with_role(&self, role: Role) -> impl Iterator<Item = ServerId> {
        self.members().filter(move |(_, member)| member.role == role).map(|(id, _)| id)
    }

    /// Whether a server votes here.
    pub fn is_voter(&self, id: ServerId) -> bool {
        self.member(id).is_some_and(|member| member.role == Role::Participant)
    }

    /// What makes a set of voters a quorum.
    pub fn rule(&self) -> &QuorumRule {
        &self.rule
    }

    /// The weight of a server's vote; who has weight 0 never leads.
    pub fn weight(&self, id: ServerId) -> i64 {
        match &self.rule {
            QuorumRule::Majority => i64::from(self.is_voter(id)),
            QuorumRule::Hierarchical(hierarchy) => hierarchy.weight(id),
        }
    }

    /// Whether these servers are a quorum; those that do not vote here do not count.
    pub fn contains_quorum(&self, servers: impl IntoIterator<Item = ServerId>) -> bool {
        let mut voters: Vec<ServerId> =
            servers.into_iter().filter(|id| self.is_voter(*id)).collect();
        voters.sort_unstable();
        voters.dedup();
        match &self.rule {
            QuorumRule::Majority => voters.len() > self.voters().count() / 2,
            QuorumRule::Hierarchical(hierarchy) => hierarchy.contains_quorum(&voters),
        }
    }

    /// Whether members, places, roles or weights are other ones; the version does not count.
    pub fn differs_from(&self, other: &Membership) -> bool {
        self.members != other.members || self.rule != other.rule
    }
}

/// The text that goes to peers, to `/zookeeper/config` and, without its last line, to
/// `zoo.cfg.dynamic`: byte for byte Java's, without a newline at the end.
impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for id in &self.order {
            if let Some(member) = self.member(*id) {
                writeln!(f, "server.{id}={member}")?;
            }
        }
        if let QuorumRule::Hierarchical(hierarchy) = &self.rule {
            for (group, servers) in hierarchy.groups() {
                write!(f, "group.{group}=")?;
                for (at, id) in servers.iter().enumerate() {
                    write!(f, "{}{id}", if at == 0 { "" } else { ":" })?;
                }
                writeln!(f)?;
            }
            for (id, weight) in hierarchy.weights() {
                writeln!(f, "weight.{id}={weight}")?;
            }
        }
        write!(f, "version={:x}", self.version)
    }
}

/// A configuration while its lines are read.
#[derive(Default)]
struct Draft {
    version: i64,
    members: Vec<(ServerId, Member)>,
    groups: Vec<GroupLine>,
    weights: Vec<(ServerId, i64)>,
    hierarchical: bool,
}

impl Draft {
    fn line(
        &mut self,
        key: &str,
        value: &str,
        rules: &MembershipRules,
    ) -> Result<(), MembershipError> {
        if key.starts_with("server.") {
            // The id first: a wrong one is another error than a wrong address.
            let id = ServerId(id_of(key)?);
            set(&mut self.members, id, Member::parse(value, rules.multi_address_enabled)?);
        } else if key.starts_with("group") {
            self.hierarchical = true;
            let servers: Result<Vec<ServerId>, _> =
                address::split(value, ':').into_iter().map(|id| number(id).map(ServerId)).collect();
            self.groups.push(GroupLine { group: id_of(key)?, servers: servers? });
        } else if key.starts_with("weight") {
            self.hierarchical = true;
            set(&mut self.weights, ServerId(id_of(key)?), number(value)?);
        } else if key == "version" {
            self.version = i64::from_str_radix(value, 16)
                .map_err(|_| MembershipError::BadNumber(value.into()))?;
        } else {
            return Err(MembershipError::UnknownKey(key.into()));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Membership, MembershipError> {
        order::sort_by_long(&mut self.members, |(id, _)| id.0);
        let order: Vec<ServerId> = self.members.iter().map(|(id, _)| *id).collect();
        let rule = if self.hierarchical {
            for (id, member) in &self.members {
                let participates = member.role == Role::Participant;
                if participates && !self.groups.iter().any(|group| group.servers.contains(id)) {
                    return Err(MembershipError::InNoGroup(*id));
                }
                if participates && !self.weights.iter().any(|(weighed, _)| weighed == id) {
                    self.weights.push((*id, 1));
                }
            }
            order::sort_by_long(&mut self.weights, |(id, _)| id.0);
            let mut servers: Vec<(ServerId, i64)> = Vec::new();
            for line in &self.groups {
                servers.extend(line.servers.iter().map(|id| (*id, line.group)));
            }
            order::sort_by_long(&mut servers, |(id, _)| id.0);
            let mut groups: Vec<GroupLine> = Vec::new();
            for (id, group) in servers {
                match groups.iter_mut().find(|line| line.group == group) {
                    Some(line) => line.servers.push(id),
                    None => groups.push(GroupLine { group, servers: vec![id] }),
                }
            }
            order::sort_by_long(&mut groups, |line| line.group);
            QuorumRule::Hierarchical(Hierarchy::new(groups, self.weights)?)
        } else {
            QuorumRule::Majority
        };
        let members = self.members.into_iter().collect();
        Ok(Membership { version: self.version, members, order, rule })
    }
}

/// Sets a value where several keys may mean one id (`server.1`, `server.01`).
fn set<T>(entries: &mut Vec<(ServerId, T)>, id: ServerId, value: T) {
    match entries.iter_mut().find(|(known, _)| *known == id) {
        Some(entry) => entry.1 = value,
        None => entries.push((id, value)),
    }
}

/// The number behind a key's first dot.
fn id_of(key: &str) -> Result<i64, MembershipError> {
    number(key.split_once('.').map_or(key, |(_, id)| id))
}

fn number(text: &str) -> Result<i64, MembershipError> {
    text.parse().map_err(|_| MembershipError::BadNumber(text.into()))
}
