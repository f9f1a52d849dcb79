//! Questions to a running server: what four-letter words and metrics are made from.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{RwLock, RwLockReadGuard};
use rookeeper_replica::{Core, Now, Replica, Shard, Shared};
use rookeeper_store::Store;

use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::core_driver::{CoreMessage, CorePort};
use crate::io::{IoMessage, ShardPort};
use crate::measures::Measures;

/// How long a thread may take to answer. All of them answer within a turn, but a report on very
/// many watches takes its time on a busy machine, and half an answer would be a wrong one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Asks the server's threads, each in its own time. Blocks, so it is not used on one of them.
#[derive(Clone)]
pub struct Inspector {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) local_address: Arc<RwLock<SocketAddr>>,
    pub(crate) clock: Clock,
    pub(crate) store: Weak<Store>,
    pub(crate) shared: Arc<RwLock<Shared>>,
    pub(crate) core: CorePort,
    pub(crate) shards: Vec<Arc<ShardPort>>,
    pub(crate) measures: Arc<Measures>,
}

impl Inspector {
    /// What the server was told at its start.
    pub fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// Where clients reach the server; its port is 0 where there is no client port.
    pub fn local_addr(&self) -> SocketAddr {
        *self.local_address.read()
    }

    /// The time, by the clock that all threads of the server read.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The data directory; `None` when the server has stopped.
    pub fn store(&self) -> Option<Arc<Store>> {
        self.store.upgrade()
    }

    /// The state that all threads share, locked for reading. Writes wait while it is held.
    pub fn shared(&self) -> RwLockReadGuard<'_, Shared> {
        self.shared.read()
    }

    /// Starts the figures of what was written to the tree anew.
    pub fn reset_written(&self) {
        self.shared.write().tree.reset_written();
    }

    /// Asks the core; `None` when the server is stopping.
    pub fn core<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answers) = mpsc::sync_channel(1);
        self.core.send(CoreMessage::Inspect(Box::new(move |core: &Core| {
            // An inspector that gave up has nobody to tell.
            let _ = answer.send(question(core));
        })));
        answers.recv_timeout(ANSWER_TIMEOUT).ok()
    }

    /// Asks the member of an ensemble; `None` on a server that stands alone, and when the server
    /// is stopping.
    pub fn member<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Replica) -> T + Send + 'static,
    ) -> Option<T> {
        self.config.ensemble.as_ref()?;
        let (answer, answers) = mpsc::sync_channel(1);
        self.core.send(CoreMessage::InspectMember(Box::new(move |replica: &Replica| {
            // An inspector that gave up has nobody to tell.
            let _ = answer.send(question(replica));
        })));
        answers.recv_timeout(ANSWER_TIMEOUT).ok()
    }

    /// Asks every shard; the answers are in no particular order, and shards that are stopping do
    /// not answer.
    pub fn shards<T: Send + 'static>(
        &self,
        question: impl Fn(&mut Shard) -> T + Clone + Send + 'static,
    ) -> Vec<T> {
        let (answer, answers) = mpsc::sync_channel(self.shards.len());
        for port in &self.shards {
            let (question, answer) = (question.clone(), answer.clone());
            port.messages.send(IoMessage::Inspect(Box::new(move |shard: &mut Shard| {
                // An inspector that gave up has nobody to tell.
                let _ = answer.send(question(shard));
            })));
        }
        drop(answer);
        std::iter::from_fn(|| answers.recv_timeout(ANSWER_TIMEOUT).ok()).collect()
    }
}
