//! Connections to other servers: names are looked up at every dial, so that a server may get its
//! address later, or another one; of several addresses the first to answer wins
//! (Java: `Learner.connectToLeader`, `QuorumCnxManager.initiateConnection`).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rookeeper_zab::membership::Address;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Connects to the first of these addresses that answers in time.
///
/// # Errors
/// The last address's error, where none answered.
pub(crate) async fn dial(addresses: Vec<Address>, timeout: Duration) -> io::Result<TcpStream> {
    let attempt = async move {
        if let [address] = &addresses[..] {
            return connect(address).await;
        }
        let mut race = JoinSet::new();
        for address in addresses {
            race.spawn_local(async move { connect(&address).await });
        }
        let mut last = io::Error::new(io::ErrorKind::NotFound, "there is no address");
        while let Some(ended) = race.join_next().await {
            match ended.map_err(io::Error::other).flatten() {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    match tokio::time::timeout(timeout, attempt).await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
    }
}

async fn connect(address: &Address) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for resolved in resolve(address).await? {
        match TcpStream::connect(resolved).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// All addresses of a host now.
///
/// # Errors
/// Where the name is not known.
pub(crate) async fn resolve(address: &Address) -> io::Result<Vec<SocketAddr>> {
    if let Ok(number) = address.host().parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(number, address.port())]);
    }
    Ok(tokio::net::lookup_host((address.host(), address.port())).await?.collect())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime"), future)
    }

    /// A port on which nobody listens.
    fn closed_port() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("bound").port()
    }

    #[test]
    fn the_first_address_that_answers_wins() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let addresses = vec![
            Address::new("no-such-host.invalid", 1),
            Address::new("127.0.0.1", closed_port()),
            Address::new("localhost", port),
        ];
        let stream = run(dial(addresses, Duration::from_secs(20))).expect("one answers");
        assert_eq!(stream.peer_addr().expect("connected").port(), port);
    }

    #[test]
    fn nobody_there_is_an_error() {
        let timeout = Duration::from_secs(20);
        let one = vec![Address::new("127.0.0.1", closed_port())];
        assert!(run(dial(one, timeout)).is_err());
        let two =
            vec![Address::new("127.0.0.1", closed_port()), Address::new("no-such-host.invalid", 1)];
        assert!(run(dial(two, timeout)).is_err());
        assert!(run(dial(Vec::new(), timeout)).is_err());
    }
}
