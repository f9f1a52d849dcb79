//! One member: the value of a `server.N` line (Java: `QuorumPeer.QuorumServer`).

use core::fmt;

use super::MembershipError;
use super::address::{self, Address};

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Votes.
    Participant,
    /// Learns only.
    Observer,
}

impl Role {
    fn parse(text: &str) -> Result<Role, MembershipError> {
        match text.trim().to_lowercase().as_str() {
            "participant" => Ok(Role::Participant),
            "observer" => Ok(Role::Observer),
            _ => Err(MembershipError::UnknownRole(text.into())),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Participant => "participant",
            Role::Observer => "observer",
        })
    }
}

/// One host of a member: where its peers reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// Where it listens for learners while it leads.
    pub quorum: Address,
    /// Where it listens for elections; the same host.
    pub election: Address,
}

/// A member of the ensemble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// At least one, ordered by host, as Java's text shows them.
    pub addresses: Vec<PeerAddress>,
    /// Whether it votes.
    pub role: Role,
    /// Where clients reach it; `None` where only its own file says so (`clientPort`).
    pub client: Option<Address>,
}

impl Member {
    /// Reads the value of a `server.N` line:
    /// `host:quorum:election[:role][|more of these][;[host:]client]`.
    ///
    /// # Errors
    /// Where Java refuses it too: another form, ports that are none or equal, unknown or
    /// different roles, or several addresses where `multi_address_enabled` is false
    /// (`zookeeper.multiAddress.enabled`).
    pub fn parse(text: &str, multi_address_enabled: bool) -> Result<Member, MembershipError> {
        let wrong = || MembershipError::WrongForm(text.into());
        let parts = address::split(text, ';');
        let (servers, client) = match parts[..] {
            [servers] => (servers, None),
            [servers, client] => (servers, Some(parse_client(client)?)),
            _ => return Err(wrong()),
        };
        let servers = address::split(servers, '|');
        if servers.len() > 1 && !multi_address_enabled {
            return Err(MembershipError::MultiAddressDisabled);
        }
        let mut addresses = Vec::with_capacity(servers.len());
        let mut role = None;
        for server in servers {
            let parts = address::host_and_parts(server)?;
            let (host, quorum, election, named) = match parts[..] {
                [host, quorum, election] => (host, quorum, election, None),
                [host, quorum, election, role] => (host, quorum, election, Some(role)),
                _ => return Err(wrong()),
            };
            let quorum = Address::new(host, address::parse_port(quorum)?);
            let election = Address::new(host, address::parse_port(election)?);
            if quorum.port() == election.port() {
                return Err(MembershipError::EqualPorts(text.into()));
            }
            addresses.push(PeerAddress { quorum, election });
            if let Some(named) = named {
                let named = Role::parse(named)?;
                if role.is_some_and(|role| role != named) {
                    return Err(MembershipError::DifferentRoles(text.into()));
                }
                role = Some(named);
            }
        }
        addresses.sort_by(|a, b| a.quorum.host().cmp(b.quorum.host()));
        addresses.dedup();
        let role = role.unwrap_or(Role::Participant);
        Ok(Member { addresses, role, client })
    }
}

/// A client part: `port` on all interfaces, or `host:port`.
fn parse_client(text: &str) -> Result<Address, MembershipError> {
    match address::host_and_parts(text)?[..] {
        [port] => Ok(Address::new("0.0.0.0", address::parse_port(port)?)),
        [host, port] => Ok(Address::new(host, address::parse_port(port)?)),
        _ => Err(MembershipError::WrongForm(text.into())),
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, address) in self.addresses.iter().enumerate() {
            let bar = if at == 0 { "" } else { "|" };
            let PeerAddress { quorum, election } = address;
            write!(f, "{bar}{}:{}:{}", quorum.delimited_host(), quorum.port(), election.port())?;
        }
        write!(f, ":{}", self.role)?;
        match &self.client {
            Some(client) => write!(f, ";{client}"),
            None => Ok(()),
        }
    }
}
