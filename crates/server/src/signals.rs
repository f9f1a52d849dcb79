//! SIGTERM and SIGINT stop the server in good order.

use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use crate::fate::{ExitCode, Fate};

/// Starts a thread that ends the server at the first SIGTERM or SIGINT. It lasts as long as the
/// process.
///
/// # Errors
/// Where the system has no thread left, or the signals cannot be caught.
pub(crate) fn stop_on_signals(fate: Arc<Fate>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt) = {
        let _entered = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    thread::Builder::new().name("rookeeper-sig".into()).spawn(move || {
        runtime.block_on(async {
            let name = std::future::poll_fn(|context| {
                if terminate.poll_recv(context).is_ready() {
                    return Poll::Ready("SIGTERM");
                }
                interrupt.poll_recv(context).map(|_| "SIGINT")
            });
            let name = name.await;
            tracing::info!("{name}: the server stops");
            fate.decide(ExitCode::Finished);
        });
    })?;
    Ok(())
}
