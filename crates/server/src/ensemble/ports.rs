//! The two ports on which a member is found, opened anew when a reconfiguration moves them.

use std::cell::RefCell;
use std::rc::Rc;

use rookeeper_jute::ServerId;
use rookeeper_zab::membership::{Address, Membership};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, spawn_local};

use super::connection::Port;
use super::driver::Driver;
use super::listen;
use crate::config::PeerLinksConfig;
use crate::listener::is_exhausted;

/// The pause after an accept that failed because the process has no descriptors left.
const EXHAUSTED_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// The listening sockets.
pub(crate) struct Ports {
    me: ServerId,
    rules: PeerLinksConfig,
    open: RefCell<Open>,
}

#[derive(Default)]
struct Open {
    /// Where the sockets are, quorum port and election port of each host.
    addresses: Vec<(Address, Address)>,
    tasks: Vec<AbortHandle>,
}

impl Ports {
    pub(crate) fn new(me: ServerId, rules: PeerLinksConfig) -> Rc<Self> {
        Rc::new(Ports { me, rules, open: RefCell::default() })
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
        let tasks = [(Port::Quorum, quorum), (Port::Election, election)]
            .map(|(port, addresses)| ports.start(driver, port, addresses));
        *ports.open.borrow_mut() = Open { addresses, tasks: tasks.to_vec() };
    }

    fn start(
        self: &Rc<Self>,
        driver: &Rc<Driver>,
        port: Port,
        addresses: Vec<Address>,
    ) -> AbortHandle {
        let (ports, driver) = (Rc::clone(self), Rc::clone(driver));
        let task = spawn_local(async move {
            let rules = &ports.rules;
            let keepalive = port == Port::Quorum || rules.tcp_keep_alive;
            let opened =
                listen::open(&addresses, rules.listen_on_all_ips, keepalive, rules.bind_retries);
            let Some(listeners) = opened.await else { return driver.cannot_listen() };
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
