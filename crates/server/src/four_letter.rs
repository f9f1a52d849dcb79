//! The thread that answers four-letter words. Its queue is short: a flood of words closes its own
//! connections and costs the service nothing.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};

use rookeeper_replica::ConnectionKey;

use crate::io::{IoMessage, ShardPort};

/// Words that may wait for an answer.
const QUEUE_LEN: usize = 256;

/// A word that a connection said.
struct Question {
    connection: ConnectionKey,
    word: [u8; 4],
    /// The mask of `stmk`.
    argument: Option<i64>,
}

/// The answer to a word; the connection closes behind it.
pub(crate) struct Answer {
    pub(crate) connection: ConnectionKey,
    pub(crate) text: Vec<u8>,
}

/// The way to the thread.
#[derive(Clone)]
pub(crate) struct FourLetterSender {
    questions: SyncSender<Question>,
}

impl FourLetterSender {
    /// Asks; `false` where too many words wait already.
    pub(crate) fn ask(
        &self,
        connection: ConnectionKey,
        word: [u8; 4],
        argument: Option<i64>,
    ) -> bool {
        self.questions.try_send(Question { connection, word, argument }).is_ok()
    }
}

/// Starts the thread; it ends when the last sender is gone.
///
/// # Errors
/// Where the system has no thread left.
pub(crate) fn start(
    shards: Vec<Arc<ShardPort>>,
    mut answer: impl FnMut([u8; 4], Option<i64>) -> Vec<u8> + Send + 'static,
) -> io::Result<(FourLetterSender, JoinHandle<()>)> {
    let (questions, queue) = mpsc::sync_channel::<Question>(QUEUE_LEN);
    let thread = thread::Builder::new().name("rookeeper-4lw".into()).spawn(move || {
        for question in queue {
            let text = answer(question.word, question.argument);
            let connection = question.connection;
            let message = IoMessage::FourLetterAnswer(Answer { connection, text });
            shards[connection.shard.index()].messages.send(message);
        }
    })?;
    Ok((FourLetterSender { questions }, thread))
}
