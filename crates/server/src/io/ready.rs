//! Which connections of an I/O thread have something to do.
//!
//! One task a thread drives all of its connections: the waker of a connection does no more than
//! note its number. All that became ready in one turn of the event loop is then served in one
//! turn of the task, which is what makes batches without a timer.

use std::sync::Arc;
use std::task::{Wake, Waker};

use parking_lot::Mutex;

/// The numbers of ready connections, and the task that serves them.
#[derive(Debug, Default)]
pub(crate) struct ReadyQueue {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    tokens: Vec<u32>,
    task: Option<Waker>,
}

impl ReadyQueue {
    /// Notes a connection and wakes the task if it was the first one.
    pub(crate) fn push(&self, token: u32) {
        let mut inner = self.inner.lock();
        inner.tokens.push(token);
        if inner.tokens.len() > 1 {
            return;
        }
        let task = inner.task.clone();
        drop(inner);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Takes all noted connections into `tokens`, which is empty, and keeps the task's waker. A
    /// number may stand there more than once.
    pub(crate) fn take(&self, tokens: &mut Vec<u32>, task: &Waker) {
        debug_assert!(tokens.is_empty());
        let mut inner = self.inner.lock();
        std::mem::swap(&mut inner.tokens, tokens);
        if !inner.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            inner.task = Some(task.clone());
        }
    }
}

struct TokenWaker {
    queue: Arc<ReadyQueue>,
    token: u32,
}

impl Wake for TokenWaker {
    fn wake(self: Arc<Self>) {
        self.queue.push(self.token);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.queue.push(self.token);
    }
}

/// A waker that notes `token`.
pub(crate) fn waker(queue: &Arc<ReadyQueue>, token: u32) -> Waker {
    Arc::new(TokenWaker { queue: Arc::clone(queue), token }).into()
}
