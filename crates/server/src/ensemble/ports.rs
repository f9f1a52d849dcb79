//! The ports on which a member is found by its peers, and by observers where followers serve them;
//! opened anew when a reconfiguration moves them.

use std::cell::RefCell;
use std::rc::Rc;

use rookeeper_jute::ServerId;
use rookeeper_zab::membership::{Address, Membership, Role};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, spawn_local};

use super::connection::Port;
use super::driver::Driver;
use super::listen;
use crate::config::PeerLinksConfig;
use crate::listener::is_exhausted;

/// The pause after an accept that failed because the process has no descriptors left.
const EXHAUSTED_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Whether a member can do without a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Must,
    May,
}

/// The listening sockets.
pub(crate) struct Ports {
    me: ServerId,
    rules: PeerLinksConfig,
    /// `observerMasterPort`.
    observers: Option<u16>,
    open: RefCell<Open>,
}

#[derive(Default)]
struct Open {
    /// Where the sockets are, quorum port and election port of each host.
    addresses: Vec<(Address, Address)>,
    tasks: Vec<AbortHandle>,
}

impl Ports {
    pub(crate) fn new(me: ServerId, rules: PeerLinksConfig, observers: Option<u16>) -> Rc<Self> {
        Rc::new(Ports { me, rules, observers, open: RefCell::default() })
    }

    /// Listens where a configuration says, unless that is done already.
    pub(crate) fn listen(ports: &Rc<Self>, driver: &Rc<Driver>, membership: &Membership) {
        let Some(member) = membership.member(ports.me) else { return };
        let addresses: Vec<_> = member
            .addresses
            .iter()
            .map(|address| (address.quorum.clone(), address.election.clone()))
            .collect();
        if ports.open.borrow().addresses == addresses {
            return;
        }
        ports.close();
        let (quorum, election) = addresses.iter().cloned().unzip();
        let mut tasks = vec![
            ports.start(driver, Port::Quorum, quorum, Need::Must),
            ports.start(driver, Port::Election, election, Need::Must),
        ];
        // To a leader an observer is welcome on that port as well.
        if let Some(port) = ports.observers.filter(|_| member.role == Role::Participant) {
            let of = |(quorum, _): &(Address, Address)| Address::new(quorum.host(), port);
            let observers = addresses.iter().map(of).collect();
            tasks.push(ports.start(driver, Port::Quorum, observers, Need::May));
        }
        *ports.open.borrow_mut() = Open { addresses, tasks };
    }

    fn start(
        self: &Rc<Self>,
        driver: &Rc<Driver>,
        port: Port,
        addresses: Vec<Address>,
        need: Need,
    ) -> AbortHandle {
        let (ports, driver) = (Rc::clone(self), Rc::clone(driver));
        let task = spawn_local(async move {
            let rules = &ports.rules;
            let keepalive = port == Port::Quorum || rules.tcp_keep_alive;
            let opened =
                listen::open(&addresses, rules.listen_on_all_ips, keepalive, rules.bind_retries);
            let Some(listeners) = opened.await else {
                if need == Need::Must {
                    driver.cannot_listen();
                }
                return;
            };
            for listener in listeners {
                let (ports, driver) = (Rc::clone(&ports), Rc::clone(&driver));
                let address = listener.local_addr();
                tracing::info!(?port, ?address, "listening for other servers");
                let task = spawn_local(accept(driver, port, listener));
                ports.open.borrow_mut().tasks.push(task.abort_handle());
            }
        });
        task.abort_handle()
    }

    /// Listens no more.
    pub(crate) fn close(&self) {
        let open = self.open.take();
        for task in open.tasks {
            task.abort();
        }
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
