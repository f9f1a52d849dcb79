//! Listening sockets, and the limits on how many connections are accepted from them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};

/// What a listening socket is made from.
#[derive(Debug, Clone)]
pub(crate) struct ListenOptions {
    /// The address to bind, `None` for every IPv4 and IPv6 address (`clientPortAddress`).
    pub(crate) address: Option<IpAddr>,
    /// The port, 0 for a free one (`clientPort`).
    pub(crate) port: u16,
    /// Connections that wait to be accepted (`clientPortListenBacklog`); the kernel cuts this to
    /// `net.core.somaxconn`.
    pub(crate) backlog: i32,
    /// Whether the kernel probes idle connections (`zookeeper.clientTcpKeepAlive`).
    pub(crate) keepalive: bool,
}

/// Opens a listening socket. Without an address, or with one that means every address in either
/// family, it takes IPv4 and IPv6 at once, as a JVM does, and IPv4 alone on a machine without IPv6.
pub(crate) fn listen(options: &ListenOptions) -> io::Result<TcpListener> {
    match options.address.filter(|address| !address.is_unspecified()) {
        Some(address) => bind(SocketAddr::new(address, options.port), options),
        None => {
            let any6 = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), options.port);
            let any4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), options.port);
            bind(any6, options).or_else(|error| match error.kind() {
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
                _ => bind(any4, options),
            })
        }
    }
}

/// Accepted sockets inherit TCP_NODELAY and SO_KEEPALIVE from the listening one, which saves two
/// calls a connection.
fn bind(address: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(options.keepalive)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    Ok(socket.into())
}

/// Counts connections, in all and by address of the client (Java: `maxCnxns`, `maxClientCnxns`,
/// `NIOServerCnxnFactory.doAccept`).
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    /// Most connections in all (`maxCnxns`), `None` for no limit.
    connections_max: Option<usize>,
    /// Most connections in all, so that descriptors are left for all else; `None` for no limit.
    descriptors_left_max: Option<usize>,
    /// Most connections from one address, `None` for no limit.
    connections_per_client_max: Option<usize>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// Why a connection is closed as soon as it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejected {
    /// `maxCnxns` is reached.
    #[error("too many connections, the limit is {max} (maxCnxns)")]
    Connections {
        /// The limit.
        max: usize,
    },
    /// The process may open no more for clients, since disk and other servers need some.
    #[error(
        "too many connections, the limit is {max}: the rest of the files that the process may open \
         (ulimit -n) is for disk and other servers"
    )]
    Descriptors {
        /// The limit.
        max: usize,
    },
    /// `maxClientCnxns` is reached for this address.
    #[error("too many connections from {client}, the limit is {max} (maxClientCnxns)")]
    ConnectionsOfClient {
        /// The client.
        client: IpAddr,
        /// The limit.
        max: usize,
    },
}

/// How many of the files that a process may open clients may have as connections. Without a
/// reserve a crowd of clients takes all of them, and the log's next file ends the server.
fn descriptors_left(descriptors_max: u64) -> Option<usize> {
    /// An ensemble's member that is idle has 25 open; syncing a learner takes a few.
    const RESERVE_MIN: u64 = 64;
    const RESERVE_MAX: u64 = 512;
    let reserve = (descriptors_max / 8).clamp(RESERVE_MIN, RESERVE_MAX).min(descriptors_max / 2);
    let left = usize::try_from(descriptors_max - reserve).unwrap_or(usize::MAX);
    (descriptors_max > 0).then_some(left)
}

impl ConnectionLimits {
    /// Limits; 0 stands for none, as in the configuration. `descriptors_max`: how many files the
    /// process may open, 0 where that is not known.
    pub(crate) fn new(
        connections_max: usize,
        connections_per_client_max: usize,
        descriptors_max: u64,
    ) -> Arc<Self> {
        let limit = |max: usize| Some(max).filter(|max| *max > 0);
        Arc::new(ConnectionLimits {
            connections_max: limit(connections_max),
            descriptors_left_max: descriptors_left(descriptors_max),
            connections_per_client_max: limit(connections_per_client_max),
            counts: Mutex::default(),
        })
    }

    /// Takes a place for a connection from `client`; it is given back when the place is dropped.
    pub(crate) fn admit(self: &Arc<Self>, client: IpAddr) -> Result<Place, Rejected> {
        let mut counts = self.counts.lock();
        if let Some(max) = self.connections_max.filter(|max| counts.all >= *max) {
            return Err(Rejected::Connections { max });
        }
        if let Some(max) = self.descriptors_left_max.filter(|max| counts.all >= *max) {
            return Err(Rejected::Descriptors { max });
        }
        if let Some(max) = self.connections_per_client_max {
            let count = counts.by_client.entry(client).or_default();
            if *count >= max {
                return Err(Rejected::ConnectionsOfClient { client, max });
            }
            *count += 1;
        }
        counts.all += 1;
        Ok(Place { limits: Arc::clone(self), client })
    }
}

/// A connection's place within [`ConnectionLimits`].
#[derive(Debug)]
pub(crate) struct Place {
    limits: Arc<ConnectionLimits>,
    client: IpAddr,
}

impl Place {
    /// Whose place it is.
    pub(crate) fn client(&self) -> IpAddr {
        self.client
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.limits.counts.lock();
        counts.all -= 1;
        if let Some(count) = counts.by_client.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.by_client.remove(&self.client);
            }
        }
    }
}

/// A connection on its way from the listener to another I/O thread.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: mio::net::TcpStream,
    /// The client's address; an IPv4 client of a dual-stack socket has its IPv4 address.
    pub(crate) peer: SocketAddr,
    pub(crate) place: Place,
}

/// Takes a place for a client that was accepted, and its address as an IPv4 one where it is one.
///
/// # Errors
/// A limit that is reached: the client is turned away.
pub(crate) fn admit(
    limits: &Arc<ConnectionLimits>,
    peer: SocketAddr,
) -> Result<(SocketAddr, Place), Rejected> {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    limits.admit(peer.ip()).map(|place| (peer, place))
}

/// Whether a failed accept says that the next one would fail too, since the process has no
/// descriptors or memory left (EMFILE, ENFILE, ENOBUFS, ENOMEM); otherwise a client gave up before
/// it was accepted.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    matches!(error.raw_os_error(), Some(ENOMEM | ENFILE | EMFILE | ENOBUFS))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn options(address: Option<IpAddr>) -> ListenOptions {
        ListenOptions { address, port: 0, backlog: 128, keepalive: false }
    }

    #[test]
    fn a_listener_on_every_address_takes_ipv4_and_ipv6() {
        takes_both(None);
        takes_both(Some(Ipv4Addr::UNSPECIFIED.into()));
        takes_both(Some(Ipv6Addr::UNSPECIFIED.into()));
    }

    fn takes_both(address: Option<IpAddr>) {
        let listener = listen(&options(address)).expect("listens");
        let port = listener.local_addr().expect("bound").port();
        let limits = ConnectionLimits::new(0, 0, 0);
        let clients = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        for client in clients {
            // A machine without IPv6 has no such address to bind either.
            if client.is_ipv6() && TcpListener::bind((client, 0)).is_err() {
                continue;
            }
            let _stream = TcpStream::connect((client, port)).expect("both are served");
            let (stream, peer) = loop {
                match listener.accept() {
                    Ok(accepted) => break accepted,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
                std::thread::yield_now();
            };
            let (peer, _place) = admit(&limits, peer).expect("there is no limit");
            assert_eq!(peer.ip(), client);
            assert!(stream.nodelay().expect("open"), "inherited from the listener");
        }
    }

    #[test]
    fn places_are_limited_in_all_and_by_client_and_given_back() {
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let limits = ConnectionLimits::new(3, 2, 0);
        let first = limits.admit(a).expect("free");
        let _second = limits.admit(a).expect("free");
        assert_eq!(
            limits.admit(a).expect_err("full"),
            Rejected::ConnectionsOfClient { client: a, max: 2 }
        );
        let _third = limits.admit(b).expect("free");
        assert_eq!(limits.admit(b).expect_err("full"), Rejected::Connections { max: 3 });
        drop(first);
        let _again = limits.admit(a).expect("free again");
    }

    #[test]
    fn clients_leave_descriptors_to_disk_and_other_servers() {
        let left = [(0, None), (64, Some(32)), (300, Some(236)), (1024, Some(896))];
        for (max, left) in left.into_iter().chain([(20_000, Some(19_488))]) {
            assert_eq!(descriptors_left(max), left, "{max}");
        }
        let limits = ConnectionLimits::new(0, 0, 2);
        let client = IpAddr::from([10, 0, 0, 1]);
        let place = limits.admit(client).expect("free");
        assert_eq!(limits.admit(client).expect_err("full"), Rejected::Descriptors { max: 1 });
        drop(place);
        let _again = limits.admit(client).expect("free again");
    }
}
