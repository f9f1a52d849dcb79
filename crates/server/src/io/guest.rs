//! An I/O thread's work as a part of another thread: that of a member's core where the machine has
//! no processor to spare for both. What the core delivers is written without waking anybody, and
//! what clients ask for reaches it in the same way.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::acceptor::ListenerSide;
use super::events::EVENTS_MAX;
use super::thread::{IoThread, SHARED_THREAD};

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is more to do at once.
    More,
    /// The task is woken when there is more to do.
    Waits,
    /// It was told to stop, and has.
    Stopped,
}

/// An [`IoThread`] that has no thread.
pub(crate) struct Guest {
    /// Readable where sockets of `io` are ready.
    queue: AsyncFd<OwnedFd>,
    io: IoThread,
    has_begun: bool,
}

impl Guest {
    /// Takes the work in; called in the runtime of the thread that is to do it.
    ///
    /// # Errors
    /// Where the listening socket or the event queue cannot be registered.
    pub(crate) fn new(mut io: IoThread, listener: Option<ListenerSide>) -> io::Result<Guest> {
        io.begin(listener)?;
        io.limits = SHARED_THREAD;
        #[allow(deprecated, reason = "sound, as it owns the descriptor; its successor is unsafe")]
        let queue = AsyncFd::with_interest(io.events.queue()?, Interest::READABLE)?;
        Ok(Guest { queue, io, has_begun: false })
    }

    /// Does what there is to do, as far as [`SHARED_THREAD`] allows it: sockets get their turn, and
    /// what the core delivered is written.
    ///
    /// # Errors
    /// The operating system's; there are none that a sound program sees.
    pub(crate) fn turn(&mut self, context: &mut Context<'_>) -> io::Result<Progress> {
        while let Poll::Ready(readable) = self.queue.poll_read_ready(context) {
            let mut readable = readable?;
            if self.io.look(false)? == EVENTS_MAX {
                break;
            }
            readable.clear_ready();
        }
        // The first turn leaves the waker with those who send.
        if self.io.has_work() || !std::mem::replace(&mut self.has_begun, true) {
            self.io.turn(context.waker());
        }
        Ok(match (self.io.stopped, self.io.has_more()) {
            (true, _) => Progress::Stopped,
            (false, true) => Progress::More,
            (false, false) => Progress::Waits,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use parking_lot::RwLock;
    use rookeeper_replica::{Shard, ShardConfig, ShardId, Shared};
    use rookeeper_tree::{AccessControl, Tree, TreeConfig};

    use super::super::thread::RECEIVED_UNDER_LOCK_MAX;
    use super::*;
    use crate::clock::Clock;
    use crate::core_driver::CorePort;
    use crate::four_letter;
    use crate::io::{CoreSide, IoMessage, ShardPort};
    use crate::listener::ConnectionLimits;
    use crate::mailbox::Mailbox;

    const CLIENTS: usize = 200;

    fn io_thread(port: &Arc<ShardPort>) -> IoThread {
        let tree = TreeConfig {
            index_key: [1, 2],
            digest_enabled: true,
            extended_types_enabled: false,
            emulate_353_ttl_nodes: false,
        };
        let shared = Arc::new(RwLock::new(Shared::new(Tree::new(tree), 1)));
        let access = Arc::new(AccessControl::default());
        let shard = Shard::new(ShardId(0), Arc::new(ShardConfig::default()), access);
        let core = CoreSide::Remote(CorePort::Own(Arc::new(Mailbox::new())));
        let (words, _) = four_letter::start(vec![Arc::clone(port)], |_, _| Vec::new()).unwrap();
        IoThread::new(shard, Arc::clone(port), shared, Clock::start(), core, words).unwrap()
    }

    /// What a turn came to, with the runtime's look at its sockets before it.
    async fn turn(guest: &mut Guest) -> Progress {
        tokio::task::yield_now().await;
        poll_fn(|context| Poll::Ready(guest.turn(context).unwrap())).await
    }

    /// Connections that the shard has.
    async fn connections(guest: &mut Guest, port: &ShardPort) -> usize {
        let len = Arc::new(AtomicUsize::new(0));
        let told = Arc::clone(&len);
        let question =
            move |shard: &mut Shard| told.store(shard.connections_len(), Ordering::SeqCst);
        port.messages.send(IoMessage::Inspect(Box::new(question)));
        turn(guest).await;
        len.load(Ordering::SeqCst)
    }

    async fn crowd(guest: &mut Guest, port: &ShardPort, listens: &TcpListener) -> Vec<TcpStream> {
        let address = listens.local_addr().unwrap();
        let mut clients = Vec::new();
        while clients.len() < CLIENTS {
            clients.push(TcpStream::connect(address).unwrap());
            while connections(guest, port).await < clients.len() {}
        }
        clients
    }

    /// Says more at a time than a turn reads of one connection, again and again.
    async fn floods(guest: &mut Guest, client: &mut TcpStream) {
        for _ in 0..6 {
            client.write_all(&[0; RECEIVED_UNDER_LOCK_MAX + 4000]).unwrap();
            assert_eq!(turn(guest).await, Progress::More, "a turn read all of it");
        }
    }

    #[test]
    fn a_crowd_has_its_turns_between_those_of_others() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let test = async {
            let (port, listens) = (ShardPort::new(), TcpListener::bind("127.0.0.1:0").unwrap());
            listens.set_nonblocking(true).unwrap();
            let side = ListenerSide {
                listener: Some(listens.try_clone().unwrap()),
                limits: ConnectionLimits::new(0, 0, 0),
                targets: vec![Arc::clone(&port)],
            };
            let mut guest = Guest::new(io_thread(&port), Some(side)).unwrap();
            let mut clients = crowd(&mut guest, &port, &listens).await;
            while turn(&mut guest).await == Progress::More {}
            // Of each the first bytes of a request, then as much as ends a turn.
            for (bytes, clients_a_turn) in [(8, 64), (6000, 3)] {
                let mut part = 1_000_000u32.to_be_bytes().to_vec();
                part.resize(bytes, 0);
                clients.iter_mut().for_each(|client| client.write_all(&part).unwrap());
                let mut turns = 1;
                while turn(&mut guest).await == Progress::More {
                    turns += 1;
                }
                assert_eq!(turns, CLIENTS.div_ceil(clients_a_turn), "{bytes} bytes of each");
            }
            floods(&mut guest, &mut clients[0]).await;
            drop(clients.pop());
            let mut turns = 0;
            while connections(&mut guest, &port).await == CLIENTS {
                turns += 1;
            }
            assert!(turns <= 2, "one connection took {turns} turns before another one");
            port.messages.send(IoMessage::Stop);
            assert_eq!(turn(&mut guest).await, Progress::Stopped);
        };
        let bounded = async { tokio::time::timeout(Duration::from_secs(30), test).await };
        runtime.block_on(bounded).expect("nothing is waited for in vain");
    }
}
