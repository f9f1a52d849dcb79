//! Where members live: on the loopback address with free ports, or each in a network namespace of
//! its own, so that single paths between members can be cut.

use super::delay::Proxy;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The three ports of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Where clients connect.
    pub client: u16,
    /// Where learners connect.
    pub quorum: u16,
    /// Where elections are held.
    pub election: u16,
}

impl Ports {
    fn free() -> Ports {
        Ports { client: free_port(), quorum: free_port(), election: free_port() }
    }
}

/// The addresses of an ensemble.
#[derive(Debug)]
pub enum Network {
    /// Everything on 127.0.0.1.
    Loopback(Vec<Ports>),
    /// Everything on [::1].
    Loopback6(Vec<Ports>),
    /// A namespace a member, joined by a bridge.
    Namespaces(Namespaces),
}

/// Network namespaces of one ensemble; they are removed when this is dropped.
#[derive(Debug)]
pub struct Namespaces {
    tag: String,
    subnet: u8,
    count: usize,
    /// A proxy a member, where links can be delayed.
    proxies: Vec<Proxy>,
    /// Whether each member has a second address, in another subnet on another bridge.
    doubled: bool,
}

/// The ports of a namespace at which a member's proxy stands for this peer.
fn proxy_ports(peer: usize) -> Ports {
    let first = 20_000 + 10 * u16::try_from(peer).expect("few members");
    Ports { client: first, quorum: first + 1, election: first + 2 }
}

/// Every other link has proxies at both ends, so that both ways of losing a peer are seen: a
/// refused connection, and one that is taken and then ends.
fn has_proxies(one: usize, other: usize) -> bool {
    (one + other) % 2 == 1
}

/// Ports that no system gives to outgoing connections by default (Linux starts at 32768), so that
/// none is taken between the choice and the server's start. Processes start at different places.
fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        let at = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = std::process::id().wrapping_mul(7919);
        let port = FIRST + start.wrapping_add(at) % COUNT;
        let port = u16::try_from(port).expect("below 32768");
        // Where there is no IPv6, nobody has the port there either.
        let taken6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port))
            .is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
        if !taken6 && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port of the loopback address is free");
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .map_err(|error| format!("ip: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

impl Network {
    /// Free ports of the loopback address for `count` members.
    pub fn loopback(count: usize) -> Network {
        Network::Loopback((0..count).map(|_| Ports::free()).collect())
    }

    /// Free ports of IPv6's loopback address.
    ///
    /// # Errors
    /// Where the machine has none, in words.
    pub fn loopback6(count: usize) -> Result<Network, String> {
        TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).map_err(|error| format!("[::1]: {error}"))?;
        Ok(Network::Loopback6((0..count).map(|_| Ports::free()).collect()))
    }

    /// A namespace for each of `count` members.
    ///
    /// # Errors
    /// Where the machine does not allow it, in words: the caller skips by name.
    pub fn namespaces(count: usize) -> Result<Network, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let tag = format!("rk{}x{number}", std::process::id() % 100_000);
        let subnet = u8::try_from((std::process::id() + number * 37) % 250).expect("below 250");
        let (proxies, doubled) = (Vec::new(), false);
        let namespaces = Namespaces { tag, subnet, count, proxies, doubled };
        namespaces.make()?;
        Ok(Network::Namespaces(namespaces))
    }

    /// The same, with two addresses a member ([`Network::second_host`]), on networks of their own.
    ///
    /// # Errors
    /// As above.
    pub fn doubled_namespaces(count: usize) -> Result<Network, String> {
        let mut network = Network::namespaces(count)?;
        if let Network::Namespaces(namespaces) = &mut network {
            namespaces.doubled = true;
            namespaces.make_second()?;
        }
        Ok(network)
    }

    /// A member's address in the second network; `None` where there is none.
    pub fn second_host(&self, index: usize) -> Option<IpAddr> {
        match self {
            Network::Namespaces(it) if it.doubled => Some(it.second_host(index).into()),
            _ => None,
        }
    }

    /// The same, where every other link can be delayed ([`Network::delay`]).
    ///
    /// # Errors
    /// As above.
    pub fn delayed_namespaces(count: usize) -> Result<Network, String> {
        let mut network = Network::namespaces(count)?;
        let mut proxies = Vec::new();
        for index in 0..count {
            let mut routes = Vec::new();
            for peer in (0..count).filter(|peer| has_proxies(index, *peer)) {
                let (here, there) = (proxy_ports(peer), network.ports(peer));
                let host = network.host(peer);
                routes.push((here.quorum, peer, SocketAddr::new(host, there.quorum)));
                routes.push((here.election, peer, SocketAddr::new(host, there.election)));
            }
            proxies.push(Proxy::start(&network.prefix(index), &routes)?);
        }
        if let Network::Namespaces(namespaces) = &mut network {
            namespaces.proxies = proxies;
        }
        Ok(network)
    }

    /// Where member `index` finds `peer`: at its address, or at a proxy.
    pub fn seen_from(&self, index: usize, peer: usize) -> (IpAddr, Ports) {
        match self {
            Network::Namespaces(namespaces)
                if !namespaces.proxies.is_empty() && has_proxies(index, peer) =>
            {
                (Ipv4Addr::LOCALHOST.into(), proxy_ports(peer))
            }
            _ => (self.host(peer), self.ports(peer)),
        }
    }

    /// Holds back what passes between two members, both ways, by half to the whole of `delay_ms`;
    /// false where their link has no proxies.
    pub fn delay(&self, one: usize, other: usize, delay_ms: u32) -> bool {
        let Network::Namespaces(namespaces) = self else { return false };
        if namespaces.proxies.is_empty() || !has_proxies(one, other) {
            return false;
        }
        namespaces.proxies[one].delay(other, delay_ms);
        namespaces.proxies[other].delay(one, delay_ms);
        true
    }

    /// The address of a member.
    pub fn host(&self, index: usize) -> IpAddr {
        match self {
            Network::Loopback(_) => Ipv4Addr::LOCALHOST.into(),
            Network::Loopback6(_) => Ipv6Addr::LOCALHOST.into(),
            Network::Namespaces(namespaces) => namespaces.host(index).into(),
        }
    }

    /// The ports of a member.
    pub fn ports(&self, index: usize) -> Ports {
        match self {
            Network::Loopback(ports) | Network::Loopback6(ports) => ports[index],
            Network::Namespaces(_) => Ports { client: 2181, quorum: 2888, election: 3888 },
        }
    }

    /// Where clients of a member connect.
    pub fn client_address(&self, index: usize) -> SocketAddr {
        SocketAddr::new(self.host(index), self.ports(index).client)
    }

    /// Words before a member's command.
    pub fn prefix(&self, index: usize) -> Vec<String> {
        match self {
            Network::Loopback(_) | Network::Loopback6(_) => Vec::new(),
            Network::Namespaces(namespaces) => {
                ["ip", "netns", "exec", &namespaces.name(index)].map(str::to_owned).to_vec()
            }
        }
    }

    /// Cuts (or restores) what member `from` sends to member `to`; one direction alone.
    ///
    /// # Panics
    /// On the loopback address, where no path can be cut.
    pub fn cut(&self, from: usize, to: usize, cut: bool) {
        let Network::Namespaces(namespaces) = self else {
            panic!("paths can be cut between network namespaces only");
        };
        let verb = if cut { "replace" } else { "del" };
        let (name, host) = (namespaces.name(from), namespaces.host(to));
        ip(&format!("netns exec {name} ip route {verb} blackhole {host}/32"))
            .unwrap_or_else(|why| panic!("{why}"));
    }
}

impl Network {
    /// Makes all that a member sends slow and lossy, or as it was: 400 kbit/s, a short queue.
    ///
    /// # Errors
    /// Where the machine has no `tc`, or no such queue.
    pub fn slow(&self, index: usize, slow: bool) -> Result<(), String> {
        let Network::Namespaces(namespaces) = self else {
            return Err("only between network namespaces".to_owned());
        };
        let name = namespaces.name(index);
        match slow {
            true => ip(&format!(
                "netns exec {name} tc qdisc replace dev eth0 root tbf rate 400kbit burst 4kb \
                 latency 300ms"
            )),
            false => ip(&format!("netns exec {name} tc qdisc del dev eth0 root")),
        }
    }
}

impl Namespaces {
    fn name(&self, index: usize) -> String {
        format!("{}n{index}", self.tag)
    }

    fn host(&self, index: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.subnet, u8::try_from(index + 2).expect("few members"))
    }

    fn second_host(&self, index: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 214, self.subnet, u8::try_from(index + 2).expect("few members"))
    }

    fn make_second(&self) -> Result<(), String> {
        let bridge = format!("{}b", self.tag);
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("link set {bridge} up"))?;
        for index in 0..self.count {
            let (name, host) = (self.name(index), self.second_host(index));
            let link = format!("{}m{index}", self.tag);
            ip(&format!("link add {link} type veth peer name eth1 netns {name}"))?;
            ip(&format!("link set {link} master {bridge} up"))?;
            ip(&format!("netns exec {name} ip addr add {host}/24 dev eth1"))?;
            ip(&format!("netns exec {name} ip link set eth1 up"))?;
        }
        Ok(())
    }

    fn make(&self) -> Result<(), String> {
        let (tag, subnet) = (&self.tag, self.subnet);
        ip(&format!("link add {tag} type bridge"))?;
        ip(&format!("addr add 10.213.{subnet}.1/24 dev {tag}"))?;
        ip(&format!("link set {tag} up"))?;
        for index in 0..self.count {
            let (name, host) = (self.name(index), self.host(index));
            ip(&format!("netns add {name}"))?;
            ip(&format!("link add {name} type veth peer name eth0 netns {name}"))?;
            ip(&format!("link set {name} master {tag} up"))?;
            ip(&format!("netns exec {name} ip addr add {host}/24 dev eth0"))?;
            ip(&format!("netns exec {name} ip link set eth0 up"))?;
            ip(&format!("netns exec {name} ip link set lo up"))?;
        }
        Ok(())
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.proxies.clear();
        for index in 0..self.count {
            let _ = ip(&format!("netns del {}", self.name(index)));
        }
        let _ = ip(&format!("link del {}", self.tag));
        if self.doubled {
            let _ = ip(&format!("link del {}b", self.tag));
        }
    }
}
