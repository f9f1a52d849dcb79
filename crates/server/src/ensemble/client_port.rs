//! The clients' port of a member, which a reconfiguration may move
//! (Java: `ServerCnxnFactory.reconfigure`). Connections that are there stay.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rookeeper_zab::membership::Address;
use tokio::task::spawn_local;

use super::dial::resolve;
use crate::io::{IoMessage, ShardPort};
use crate::listener::{self, ListenOptions};

/// How often, and how long apart, an address is tried that the old listener may still hold.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// What it is made from.
pub(crate) struct ClientPortParts {
    /// Where the configuration has it; `None` where only the file has.
    pub(crate) configured: Option<Address>,
    /// How it listens.
    pub(crate) options: ListenOptions,
    /// The thread that accepts.
    pub(crate) acceptor: Arc<ShardPort>,
    /// Where it is.
    pub(crate) local_address: Arc<RwLock<SocketAddr>>,
}

/// Where clients are accepted.
pub(crate) struct ClientPort {
    configured: RefCell<Option<Address>>,
    options: ListenOptions,
    acceptor: Arc<ShardPort>,
    local_address: Arc<RwLock<SocketAddr>>,
}

impl ClientPort {
    pub(crate) fn new(parts: ClientPortParts) -> Rc<Self> {
        Rc::new(ClientPort {
            configured: RefCell::new(parts.configured),
            options: parts.options,
            acceptor: parts.acceptor,
            local_address: parts.local_address,
        })
    }

    /// Listens where a configuration says, unless that is done already. What a former one said, and
    /// has not been done yet, is given up.
    pub(crate) fn follow(port: &Rc<Self>, address: Option<&Address>) {
        let Some(address) = address.filter(|address| !port.is_at(address)) else { return };
        *port.configured.borrow_mut() = Some(address.clone());
        let (port, address) = (Rc::clone(port), address.clone());
        spawn_local(async move {
            match port.open(&address).await {
                _ if !port.is_at(&address) => {}
                Ok((listener, local)) => {
                    *port.local_address.write() = local;
                    port.acceptor.messages.send(IoMessage::Listen(listener));
                    tracing::info!(%address, "clients are accepted at another address");
                }
                Err(error) => {
                    tracing::error!(%address, %error, "cannot listen for clients there");
                }
            }
        });
    }

    fn is_at(&self, address: &Address) -> bool {
        self.configured.borrow().as_ref() == Some(address)
    }

    async fn open(&self, address: &Address) -> std::io::Result<(TcpListener, SocketAddr)> {
        let mut options = ListenOptions { port: address.port(), ..self.options.clone() };
        options.address = match address.is_wildcard() {
            true => None,
            false => resolve(address).await?.first().map(SocketAddr::ip),
        };
        if self.local_address.read().port() == address.port() {
            self.acceptor.messages.send(IoMessage::ListenNoMore);
        }
        for _ in 1..TRIES {
            if !self.is_at(address) {
                break;
            }
            if let Ok(listener) = listener::listen(&options) {
                let local = listener.local_addr()?;
                return Ok((listener, local));
            }
            tokio::time::sleep(PAUSE).await;
        }
        let listener = listener::listen(&options)?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    #[test]
    fn of_two_moves_the_later_one_counts_though_the_first_is_still_tried() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let first = taken.local_addr().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let local_address = Arc::new(RwLock::new("127.0.0.1:1".parse().unwrap()));
        let options =
            ListenOptions { address: Some(first.ip()), port: 1, backlog: 5, keepalive: false };
        let parts = ClientPortParts {
            configured: None,
            options,
            acceptor: ShardPort::new(),
            local_address: Arc::clone(&local_address),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = LocalSet::new();
        runtime.block_on(local.run_until(async {
            let clients = ClientPort::new(parts);
            ClientPort::follow(&clients, Some(&Address::new("127.0.0.1", first.port())));
            ClientPort::follow(&clients, Some(&Address::new("127.0.0.1", free.port())));
            while *local_address.read() != free {
                tokio::time::sleep(PAUSE).await;
            }
            // The first one is free again before it has been tried for the last time.
            drop(taken);
        }));
        // Until both have ended.
        runtime.block_on(local);
        assert_eq!(*local_address.read(), free);
    }
}
