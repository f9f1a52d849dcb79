//! Delay between members, where the kernel has no queue that delays: a proxy in the network
//! namespace of each member stands before some of its peers and holds back what passes.
//!
//! The member dials its proxy on the loopback address of its namespace; the proxy dials the peer
//! from there, so a route that is cut is cut for the proxy as well. The proxy is this crate's own
//! program as a process of its own, told by lines on its standard input.

use crate::random::Random;
use crate::server::own_program;
use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// A proxy's process; it ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
}

impl Proxy {
    /// Starts a proxy behind these words (`ip netns exec ...`). Each route is a port of the
    /// loopback address there, the peer's number and the address that it leads to.
    ///
    /// # Errors
    /// Where the process cannot be started, or a port is taken.
    pub fn start(prefix: &[String], routes: &[(u16, usize, SocketAddr)]) -> Result<Proxy, String> {
        let program = own_program();
        let mut command = match prefix.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.arg("proxy");
        for (port, peer, to) in routes {
            command.arg(format!("{port}={peer}={to}"));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("a proxy: {error}"))?;
        let mut said = [0; 6];
        let out = child.stdout.as_mut().expect("its output was asked for");
        let heard = out.read_exact(&mut said);
        let proxy = Proxy { child };
        match heard {
            Ok(()) if &said == b"ready\n" => Ok(proxy),
            _ => Err("a proxy does not start".to_owned()),
        }
    }

    /// Holds back what passes to and from this peer by half to the whole of `delay_ms`.
    pub fn delay(&self, peer: usize, delay_ms: u32) {
        let mut input = self.child.stdin.as_ref().expect("its input was asked for");
        input.write_all(format!("{peer} {delay_ms}\n").as_bytes()).expect("the proxy runs");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Milliseconds by which a peer's connections are delayed.
type Delay = Arc<AtomicU32>;

/// The proxy's process: serves its routes until its input ends.
///
/// # Errors
/// What is wrong with an argument, or a port.
pub fn serve(arguments: &[String]) -> Result<(), String> {
    let mut delays: Vec<(usize, Delay)> = Vec::new();
    for argument in arguments {
        let mut parts = argument.split('=');
        let mut next = || parts.next().ok_or(format!("not a route: {argument}"));
        let port: u16 = next()?.parse().map_err(|_| "not a port")?;
        let peer: usize = next()?.parse().map_err(|_| "not a peer")?;
        let to: SocketAddr = next()?.parse().map_err(|_| "not an address")?;
        let known = delays.iter().find(|(other, _)| *other == peer).map(|(_, delay)| delay.clone());
        let delay = known.unwrap_or_default();
        delays.push((peer, delay.clone()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .map_err(|error| format!("port {port}: {error}"))?;
        thread::spawn(move || accept(&listener, to, &delay));
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let (peer, delay_ms) = line.split_once(' ').ok_or("not an order")?;
        let peer: usize = peer.parse().map_err(|_| "not a peer")?;
        let delay_ms: u32 = delay_ms.parse().map_err(|_| "not a delay")?;
        for (_, delay) in delays.iter().filter(|(other, _)| *other == peer) {
            delay.store(delay_ms, Ordering::Relaxed);
        }
    }
    Ok(())
}

fn accept(listener: &TcpListener, to: SocketAddr, delay: &Delay) {
    for near in listener.incoming().flatten() {
        let delay = delay.clone();
        thread::spawn(move || {
            // Where the peer is not reached, the end of this connection says so.
            let Ok(far) = TcpStream::connect_timeout(&to, Duration::from_secs(5)) else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { return };
            let back = delay.clone();
            thread::spawn(move || pass(far_too, near_too, back));
            pass(near, far, delay);
        });
    }
}

/// What was read, and when it may be passed on.
type Held = (Instant, Vec<u8>);

/// Reads from one connection; what was read is written to the other when its time has come.
fn pass(mut from: TcpStream, to: TcpStream, delay: Delay) {
    let (sender, receiver) = sync_channel::<Held>(256);
    let Ok(source) = from.try_clone() else { return };
    let writer = thread::spawn(move || write(&receiver, &to, &source));
    read(&mut from, &sender, &delay);
    drop(sender);
    let _ = writer.join();
}

fn read(from: &mut TcpStream, sender: &SyncSender<Held>, delay: &Delay) {
    let mut random = Random::new(0);
    let mut chunk = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        let delay_ms = u64::from(delay.load(Ordering::Relaxed));
        let random_ms = random.bits() % (delay_ms / 2 + 1);
        let due = Instant::now() + Duration::from_millis(delay_ms / 2 + random_ms);
        if sender.send((due, chunk[..count].to_vec())).is_err() {
            return;
        }
    }
}

fn write(receiver: &Receiver<Held>, mut to: &TcpStream, from: &TcpStream) {
    for (due, bytes) in receiver {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_late_and_whole_and_its_end_is_told() {
        let peer = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (to, at) = (peer.local_addr().unwrap(), listener.local_addr().unwrap());
        let delay = Delay::new(AtomicU32::new(100));
        let held = delay.clone();
        thread::spawn(move || accept(&listener, to, &held));
        let mut near = TcpStream::connect(at).unwrap();
        let began = Instant::now();
        near.write_all(b"there").unwrap();
        let (mut far, _) = peer.accept().unwrap();
        let mut bytes = [0; 5];
        far.read_exact(&mut bytes).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(50), "not held back");
        assert_eq!(&bytes, b"there");
        delay.store(0, Ordering::Relaxed);
        far.write_all(b"back").unwrap();
        drop(far);
        let mut all = Vec::new();
        near.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"back");
        drop(peer);
        let mut refused = TcpStream::connect(at).unwrap();
        assert_eq!(refused.read(&mut bytes).unwrap_or(0), 0, "nobody is there");
    }
}
