//! Messages from any thread to one that sleeps in its event loop.

use std::task::Waker;

use parking_lot::Mutex;

/// A queue with many senders and one receiving task.
///
/// It is bounded by its senders: an I/O thread has at most one batch of submissions on its way,
/// the core delivers no more replies than it admitted requests, and there is one message for each
/// finished flush.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    messages: Vec<T>,
    task: Option<Waker>,
}

impl<T> Mailbox<T> {
    /// An empty mailbox.
    pub(crate) fn new() -> Self {
        Mailbox { inner: Mutex::new(Inner { messages: Vec::new(), task: None }) }
    }

    /// Adds a message and wakes the receiver if it was the first one.
    pub(crate) fn send(&self, message: T) {
        if let Some(task) = self.push(message) {
            task.wake();
        }
    }

    /// Adds a message; returns whom to wake if it was the first one, which the caller does once
    /// it holds no lock that the receiver needs.
    #[must_use]
    pub(crate) fn push(&self, message: T) -> Option<Waker> {
        let mut inner = self.inner.lock();
        inner.messages.push(message);
        if inner.messages.len() > 1 {
            return None;
        }
        inner.task.clone()
    }

    /// Takes all messages into `messages`, which is empty, and keeps the receiver's waker.
    pub(crate) fn take(&self, messages: &mut Vec<T>, task: &Waker) {
        debug_assert!(messages.is_empty());
        let mut inner = self.inner.lock();
        std::mem::swap(&mut inner.messages, messages);
        if !inner.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            inner.task = Some(task.clone());
        }
    }

    /// Takes all messages without asking to be woken for the next ones.
    pub(crate) fn take_quietly(&self, messages: &mut Vec<T>) {
        debug_assert!(messages.is_empty());
        std::mem::swap(&mut self.inner.lock().messages, messages);
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.inner.lock().messages.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_receiver_is_woken_once_for_all_that_it_then_takes() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mailbox = Mailbox::new();
        mailbox.send(0);
        let mut messages = Vec::new();
        mailbox.take(&mut messages, &waker);
        assert_eq!(messages, [0]);
        messages.clear();
        for message in 1..4 {
            mailbox.send(message);
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "the first message wakes");
        mailbox.take_quietly(&mut messages);
        assert_eq!(messages, [1, 2, 3]);
        assert!(mailbox.is_empty());
        mailbox.send(4);
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
