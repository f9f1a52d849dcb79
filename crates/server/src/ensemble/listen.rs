//! The election and quorum ports: where a member listens for its peers
//! (Java: `QuorumCnxManager.Listener`, `Leader`).

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rookeeper_zab::membership::Address;
use tokio::net::TcpListener;

use super::dial::resolve;
use crate::listener::{self, ListenOptions};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// The pause before an address that cannot be listened on is tried again (Java: 1 s).
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Opens the listening sockets of these addresses, each host with all of its addresses; `None`
/// once `retries` are used up.
pub(crate) async fn open(
    addresses: &[Address],
    all_ips: bool,
    keepalive: bool,
    retries: Option<u32>,
) -> Option<Vec<TcpListener>> {
    let mut tried = 0;
    loop {
        match try_open(addresses, all_ips, keepalive).await {
            Ok(listeners) => return Some(listeners),
            Err((address, error)) => {
                tried += 1;
                tracing::error!(%address, %error, tried, "cannot listen for other servers");
                if retries.is_some_and(|retries| tried >= retries) {
                    return None;
                }
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }
}

async fn try_open(
    addresses: &[Address],
    all_ips: bool,
    keepalive: bool,
) -> Result<Vec<TcpListener>, (Address, io::Error)> {
    let mut listeners = Vec::new();
    let mut wildcard_ports = BTreeSet::new();
    for address in addresses {
        if all_ips || address.is_wildcard() {
            if wildcard_ports.insert(address.port()) {
                let bound = bind(None, address.port(), keepalive);
                listeners.push(bound.map_err(|error| (address.clone(), error))?);
            }
            continue;
        }
        listeners.extend(open_host(address, keepalive).await.map_err(|e| (address.clone(), e))?);
    }
    Ok(listeners)
}

/// Listens on the addresses of one host. Where one of several is not this machine's (an IPv6
/// address where that is off, say), the others do.
async fn open_host(address: &Address, keepalive: bool) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let resolved: BTreeSet<SocketAddr> = resolve(address).await?.into_iter().collect();
    for resolved in resolved {
        match bind(Some(resolved.ip()), resolved.port(), keepalive) {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => last = error,
        }
    }
    if listeners.is_empty() { Err(last) } else { Ok(listeners) }
}

fn bind(address: Option<IpAddr>, port: u16, keepalive: bool) -> io::Result<TcpListener> {
    let address = address.filter(|address| {
        *address != IpAddr::V4(Ipv4Addr::UNSPECIFIED)
            && *address != IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    });
    let options = ListenOptions { address, port, backlog: BACKLOG, keepalive };
    TcpListener::from_std(listener::listen(&options)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(future)
    }

    #[test]
    fn names_numbers_and_wildcards_are_listened_on() {
        run(async {
            for (host, all_ips) in [("localhost", false), ("0.0.0.0", false), ("10.99.9.9", true)] {
                let addresses = [Address::new(host, 0)];
                let listeners = open(&addresses, all_ips, true, Some(1)).await;
                assert!(!listeners.expect("listens").is_empty(), "{host}");
            }
        });
    }

    #[test]
    fn a_port_that_is_taken_is_given_up_after_the_retries() {
        run(async {
            let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = taken.local_addr().expect("bound").port();
            let addresses = [Address::new("127.0.0.1", port)];
            assert!(open(&addresses, false, false, Some(1)).await.is_none());
            assert!(open(&[Address::new("no.invalid", 1)], false, false, Some(1)).await.is_none());
        });
    }
}
