//! `rookeeper status`: what `zkServer.sh status` says, from the four-letter word `srvr`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use crate::server;

/// How long a server may take to answer (Java: `FourLetterWordMain`).
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read, in bytes.
const ANSWER_LEN_MAX: u64 = 1 << 20;

/// Prints where the configuration's server is and its mode; 1 where it does not answer.
pub fn run(arguments: Vec<String>) -> ExitCode {
    let config = match server::configuration(arguments) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let Some(port) = config.listen.port else {
        say!("Unable to find either secure or unsecure client port in any configs. Terminating.");
        return ExitCode::FAILURE;
    };
    // A wildcard is reached on this machine.
    let address = config.listen.address.filter(|address| !address.is_unspecified());
    let host = address.map_or_else(|| "localhost".to_string(), |address| address.to_string());
    say!("Client port found: {port}. Client address: {host}. Client SSL: false.");
    match ask(&host, port, "srvr") {
        Ok(answer) => match answer.lines().find(|line| line.starts_with("Mode: ")) {
            Some(mode) => {
                say!("{mode}");
                ExitCode::SUCCESS
            }
            None => not_running(),
        },
        Err(_) => not_running(),
    }
}

fn not_running() -> ExitCode {
    say!("Error contacting service. It is probably not running.");
    ExitCode::FAILURE
}

/// Says a four-letter word and reads the answer to its end.
fn ask(host: &str, port: u16, word: &str) -> io::Result<String> {
    let mut stream = connect(host, port)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LEN_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Connects to the first address of a name that answers.
fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
