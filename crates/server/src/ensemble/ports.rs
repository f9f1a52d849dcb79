//! The ports on which a member is found by its peers, and by observers where followers serve them;
//! opened anew when a reconfiguration moves them.

use std::cell::RefCell;
use std::rc::Rc;

use rookeeper_jute::ServerId;
use rookeeper_zab::membership::{Address, Member, Membership, PeerAddress, Role};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, spawn_local};

use super::connection::Port;
use super::driver::Driver;
use super::listen;
use crate::config::PeerLinksConfig;
use crate::listener::is_exhausted;

/// The pause after an accept that failed because the process has no descriptors left.
const EXHAUSTED_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// What a member listens for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Quorum,
    Election,
    /// A follower that serves observers: to a leader one is welcome on that port as well.
    Observers,
}

impl Purpose {
    const ALL: [Purpose; 3] = [Purpose::Quorum, Purpose::Election, Purpose::Observers];

    fn port(self) -> Port {
        match self {
            Purpose::Quorum | Purpose::Observers => Port::Quorum,
            Purpose::Election => Port::Election,
        }
    }

    /// Whether a member cannot do without.
    fn is_needed(self) -> bool {
        self != Purpose::Observers
    }

    /// Where a member listens for this; `observers` is the port for them, where there is one.
    fn addresses(self, member: &Member, observers: Option<u16>) -> Vec<Address> {
        let hosts = member.addresses.iter();
        match self {
            Purpose::Quorum => hosts.map(|host| host.quorum.clone()).collect(),
            Purpose::Election => hosts.map(|host| host.election.clone()).collect(),
            Purpose::Observers => {
                let port = observers.filter(|_| member.role == Role::Participant);
                let of =
                    |host: &PeerAddress| port.map(|port| Address::new(host.quorum.host(), port));
                hosts.filter_map(of).collect()
            }
        }
    }
}

/// The listening sockets.
pub(crate) struct Ports {
    me: ServerId,
    rules: PeerLinksConfig,
    /// `observerMasterPort`.
    observers: Option<u16>,
    /// By [`Purpose`].
    open: [RefCell<Open>; 3],
}

#[derive(Default)]
struct Open {
    addresses: Vec<Address>,
    tasks: Vec<AbortHandle>,
}

impl Ports {
    pub(crate) fn new(me: ServerId, rules: PeerLinksConfig, observers: Option<u16>) -> Rc<Self> {
        Rc::new(Ports { me, rules, observers, open: Default::default() })
    }

    /// Listens where a configuration says, unless that is done already: what moves is closed before
    /// anything is opened.
    pub(crate) fn listen(ports: &Rc<Self>, driver: &Rc<Driver>, membership: &Membership) {
        let Some(member) = membership.member(ports.me) else { return };
        let wanted = Purpose::ALL.map(|purpose| purpose.addresses(member, ports.observers));
        let moves = Purpose::ALL.into_iter().zip(wanted);
        let moves: Vec<_> = moves
            .filter(|(purpose, wanted)| ports.open(*purpose).borrow().addresses != *wanted)
            .collect();
        for (purpose, _) in &moves {
            ports.close(*purpose);
        }
        for (purpose, addresses) in moves {
            let tasks = match addresses.is_empty() {
                true => Vec::new(),
                false => vec![ports.start(driver, purpose, addresses.clone())],
            };
            *ports.open(purpose).borrow_mut() = Open { addresses, tasks };
        }
    }

    fn open(&self, purpose: Purpose) -> &RefCell<Open> {
        &self.open[purpose as usize]
    }

    fn start(
        self: &Rc<Self>,
        driver: &Rc<Driver>,
        purpose: Purpose,
        addresses: Vec<Address>,
    ) -> AbortHandle {
        let (ports, driver) = (Rc::clone(self), Rc::clone(driver));
        let task = spawn_local(async move {
            let (rules, port) = (&ports.rules, purpose.port());
            let keepalive = port == Port::Quorum || rules.tcp_keep_alive;
            let opened =
                listen::open(&addresses, rules.listen_on_all_ips, keepalive, rules.bind_retries);
            let Some(listeners) = opened.await else {
                if purpose.is_needed() {
                    driver.cannot_listen();
                }
                return;
            };
            for listener in listeners {
                let driver = Rc::clone(&driver);
                let address = listener.local_addr();
                tracing::info!(?purpose, ?address, "listening for other servers");
                let task = spawn_local(accept(driver, port, listener));
                ports.open(purpose).borrow_mut().tasks.push(task.abort_handle());
            }
        });
        task.abort_handle()
    }

    fn close(&self, purpose: Purpose) {
        for task in self.open(purpose).take().tasks {
            task.abort();
        }
    }

    /// Listens no more.
    pub(crate) fn close_all(&self) {
        Purpose::ALL.into_iter().for_each(|purpose| self.close(purpose));
    }
}

async fn accept(driver: Rc<Driver>, port: Port, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => driver.accepted(port, stream),
            Err(error) => {
                tracing::warn!(%error, ?port, "a connection was not accepted");
                if is_exhausted(&error) {
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address::new(host, port)
    }

    #[test]
    fn an_observer_that_becomes_a_voter_listens_for_observers_and_moves_nothing_else() {
        let host = |name: &str, quorum, election| PeerAddress {
            quorum: at(name, quorum),
            election: at(name, election),
        };
        let of = |role, observers| {
            let addresses = vec![host("a", 1, 2), host("b", 3, 4)];
            let member = Member { addresses, role, client: None };
            Purpose::ALL.map(|purpose| purpose.addresses(&member, observers))
        };
        let [quorum, election] = [vec![at("a", 1), at("b", 3)], vec![at("a", 2), at("b", 4)]];
        let quiet = [quorum.clone(), election.clone(), Vec::new()];
        assert_eq!(of(Role::Observer, Some(9)), quiet);
        assert_eq!(of(Role::Participant, None), quiet);
        let observers = vec![at("a", 9), at("b", 9)];
        assert_eq!(of(Role::Participant, Some(9)), [quorum, election, observers]);
    }
}
