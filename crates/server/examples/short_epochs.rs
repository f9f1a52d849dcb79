//! A server whose epochs end after so many transactions as `SHORT_EPOCHS` says, in place of four
//! billion: what happens then is tested with it (tests/interop). It takes the arguments of
//! `rookeeper server`.

use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::process::ExitCode;

use rookeeper_server::Server;
use rookeeper_server::config::{Invocation, load};

fn read(path: &Path, len_max: u64) -> io::Result<Option<Vec<u8>>> {
    match std::fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(len_max).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let variable = |name: &str| std::env::var(name).ok();
    let last = variable("SHORT_EPOCHS").ok_or("SHORT_EPOCHS is not set")?;
    let last: u32 = last.parse().map_err(|_| "SHORT_EPOCHS is not a number")?;
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() != Some("server") {
        return Err("the first word is server".to_owned());
    }
    let call = Invocation::new(words, variable).map_err(|error| error.to_string())?;
    let mut config = load(&call, &read).map_err(|error| error.to_string())?;
    let ensemble = config.ensemble.as_mut().ok_or("there is no ensemble")?;
    ensemble.epoch_counter_last = Some(last);
    let server = Server::start(config).map_err(|error| error.to_string())?;
    server.stop_on_signals().map_err(|error| error.to_string())?;
    let code = server.wait();
    server.stop();
    Ok(ExitCode::from(code as u8))
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).with_target(false).init();
    run().unwrap_or_else(|why| {
        tracing::error!("{why}");
        ExitCode::FAILURE
    })
}
