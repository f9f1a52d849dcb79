//! The binary by its command line: what it prints, how it ends, what it leaves.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::home::{Home, eventually, signal, word, word_at};

/// A server in the foreground, killed at the end.
pub struct Foreground {
    child: Child,
}

impl Foreground {
    fn start(home: &Home, arguments: &[&str]) -> Foreground {
        Foreground::run(home, home.binary_command(arguments))
    }

    pub fn run(home: &Home, mut command: Command) -> Foreground {
        let log = std::fs::File::create(home.path("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Foreground { child: command.spawn().unwrap() }
    }

    /// Asks it to stop and gives its exit code.
    pub fn stop(mut self, name: &str) -> i32 {
        signal(&self.child.id().to_string(), name);
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log(home: &Home) -> String {
    std::fs::read_to_string(home.path("log")).unwrap()
}

#[test]
fn a_server_in_the_foreground_stops_at_a_signal() {
    for name in ["TERM", "INT"] {
        let home = Home::new("initLimit=5\nmyOwnKey=1");
        let config = home.config();
        let server = Foreground::start(&home, &["server", config.to_str().unwrap()]);
        eventually("an answer", || word(home.port, "srvr").is_some());
        let answer = word(home.port, "srvr").unwrap();
        assert!(answer.starts_with("Zookeeper version: 3.9.5-rookeeper-"), "{answer}");
        assert!(answer.contains("\nMode: standalone\n"), "{answer}");
        let status = home.binary(&["status", config.to_str().unwrap()]);
        assert_eq!(status.code, 0);
        assert!(status.stdout.ends_with("\nMode: standalone\n"), "{status:?}");
        assert_eq!(server.stop(name), 0, "{}", log(&home));
        let log = log(&home);
        for line in [
            "configuration from ",
            "accepted without effect, for an ensemble only: initLimit",
            "unknown key myOwnKey is kept as the property zookeeper.myOwnKey",
            "stopped",
        ] {
            assert!(log.contains(line), "{line}: {log}");
        }
        assert!(home.path("data/version-2").is_dir());
    }
}

#[test]
fn a_log_that_cannot_be_written_ends_no_server() {
    let home = Home::new("");
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = home.binary_command(&["server", home.config().to_str().unwrap()]);
    command.stdin(Stdio::null()).stdout(full()).stderr(full());
    let server = Foreground { child: command.spawn().unwrap() };
    eventually("an answer", || word(home.port, "srvr").is_some());
    assert_eq!(server.stop("TERM"), 0);
    let mut refused = home.binary_command(&["server", "/no/such/file"]);
    let code = refused.stdin(Stdio::null()).stdout(full()).stderr(full()).status().unwrap().code();
    assert_eq!(code, Some(2));
}

/// Whether this machine has IPv6 at all.
fn has_ipv6() -> bool {
    std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[test]
fn every_address_is_listened_on_unless_one_is_named() {
    let home = Home::new("");
    let server = Foreground::start(&home, &["server", home.config().to_str().unwrap()]);
    eventually("an answer", || word(home.port, "srvr").is_some());
    let other = (Ipv6Addr::LOCALHOST, home.port).into();
    assert_eq!(word_at(other, "srvr").is_some(), has_ipv6());
    assert_eq!(server.stop("TERM"), 0);

    let home = Home::new("clientPortAddress=localhost");
    let server = Foreground::start(&home, &["server", home.config().to_str().unwrap()]);
    let v4 = (Ipv4Addr::LOCALHOST, home.port).into();
    let v6 = (Ipv6Addr::LOCALHOST, home.port).into();
    eventually("an answer", || word_at(v4, "srvr").or_else(|| word_at(v6, "srvr")).is_some());
    assert_ne!(word_at(v4, "srvr").is_some(), word_at(v6, "srvr").is_some());
    // On all of this network the server is on one address.
    let elsewhere = (Ipv4Addr::new(127, 0, 0, 2), home.port).into();
    assert_eq!(word_at(elsewhere, "srvr"), None);
    assert_eq!(server.stop("TERM"), 0);
}

#[test]
fn port_and_directory_are_enough() {
    let home = Home::new("");
    let port = home.port.to_string();
    let server =
        Foreground::start(&home, &["server", &port, "elsewhere", "-Dzookeeper.snapCount=9"]);
    eventually("an answer", || word(home.port, "srvr").is_some());
    assert_eq!(server.stop("TERM"), 0);
    assert!(home.path("elsewhere/version-2").is_dir());
}

#[test]
fn a_wrong_configuration_ends_with_code_2_and_leaves_nothing() {
    for (line, message) in [
        ("secureClientPort=2281", "secureClientPort asks for TLS"),
        ("server.1=a:1:2\nserver.2=b:1:1", "server.2: Client and election port must be"),
        ("enforce.auth.enabled=true", "enforce.auth.enabled asks for enforced authentication"),
        ("snapCount=many", "snapCount: not a number: \"many\""),
    ] {
        let home = Home::new(line);
        let ended = home.binary(&["server", home.config().to_str().unwrap()]);
        assert_eq!(ended.code, 2, "{ended:?}");
        let config = home.config();
        let place =
            format!("{}:{}", config.display(), if line.contains("server.2") { 5 } else { 4 });
        assert!(ended.stderr.starts_with(&format!("{place}: {message}")), "{ended:?}");
        assert!(ended.stderr.ends_with("\nInvalid config, exiting abnormally\n"), "{ended:?}");
        assert!(!home.path("data").exists());
    }
}

/// As `rookeeper version | grep -q ...` may do.
#[test]
fn a_reader_that_has_gone_is_no_error() {
    let home = Home::new("");
    let shortest = ["bench", "limit", "--warm-up", "0", "--seconds", "0.01"];
    for arguments in [&["version"][..], &shortest] {
        let mut command = home.binary_command(arguments);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &[][..]));
    }
}

#[test]
fn a_wrong_call_shows_the_usage() {
    let home = Home::new("");
    let ended = home.binary(&["server", "1", "2", "3", "4", "5"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.starts_with("Invalid number of arguments:[1, 2, 3, 4, 5]\nUsage: "));
    let ended = home.binary(&["server", "--bogus"]);
    assert_eq!((ended.code, ended.stderr.lines().next()), (2, Some("unknown option --bogus")));
    let help = home.binary(&["server", "--help"]);
    assert_eq!(help.code, 0);
    assert!(help.stdout.contains("rookeeper server [zoo.cfg | port datadir"), "{help:?}");
    let missing = home.binary(&["server", "none.cfg"]);
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.starts_with("Error processing none.cfg: "), "{missing:?}");
}

#[test]
fn a_port_or_directory_in_use_is_an_error_that_names_it() {
    let home = Home::new("");
    let config = home.config();
    let server = Foreground::start(&home, &["server", config.to_str().unwrap()]);
    eventually("an answer", || word(home.port, "srvr").is_some());

    let same_port = home.binary(&["server", &home.port.to_string(), "other"]);
    assert_eq!(same_port.code, 1, "{same_port:?}");
    assert!(same_port.stderr.contains(&format!(":{}", home.port)), "{same_port:?}");

    let port = crate::home::free_port().to_string();
    let same_data = home.binary(&["server", &port, "data"]);
    assert_eq!(same_data.code, 3, "{same_data:?}");
    assert!(same_data.stderr.contains("data"), "{same_data:?}");
    assert!(same_data.stderr.ends_with("Unable to access datadir, exiting abnormally\n"));
    assert_eq!(server.stop("TERM"), 0);
}

#[test]
fn a_directory_where_no_reconfiguration_can_be_kept_is_an_error_that_names_the_file() {
    let lines = "initLimit=5\nsyncLimit=5\nreconfigEnabled=true\nstandaloneEnabled=false\n\
                 server.1=127.0.0.1:1:2\n";
    let home = Home::new(lines);
    std::fs::create_dir(home.path("data")).unwrap();
    std::fs::write(home.path("data/myid"), "1").unwrap();
    std::fs::create_dir(home.path("conf/zoo.cfg.bak.tmp")).unwrap();
    let config = home.config().display().to_string();
    let refused = home.binary(&["server", &config]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains(&format!("cannot write beside {config}")), "{refused:?}");
    assert!(refused.stderr.ends_with("Invalid config, exiting abnormally\n"), "{refused:?}");
}

#[test]
fn the_environment_of_the_process_is_told() {
    let home = Home::new("4lw.commands.whitelist=*");
    let config = home.config();
    let server = Foreground::start(&home, &["server", config.to_str().unwrap()]);
    eventually("an answer", || word(home.port, "srvr").is_some());
    let envi = word(home.port, "envi").unwrap();
    let version = "Environment:\nzookeeper.version=3.9.5-rookeeper-";
    assert!(envi.starts_with(version), "{envi}");
    assert!(envi.contains("\njava.version=<NA>\n") && envi.contains("\nos.name="), "{envi}");
    let mntr = word(home.port, "mntr").unwrap();
    let value = |name: &str| -> f64 {
        let line = mntr.lines().find_map(|line| line.strip_prefix(&format!("zk_{name}\t")));
        line.unwrap_or_else(|| panic!("{name}: {mntr}")).parse().unwrap()
    };
    assert!(value("open_file_descriptor_count") > 2.0);
    assert!(value("max_file_descriptor_count") >= value("open_file_descriptor_count"));
    assert_eq!(value("znode_count"), 5.0);
    assert!(value("packets_received") >= 2.0);
    assert_eq!(server.stop("TERM"), 0);
}

/// The binary under limits of the shell's `ulimit`.
fn limited(home: &Home, ulimit: &str) -> Foreground {
    let mut command = home.binary_command(&[]);
    let program = command.get_program().to_owned();
    let script = format!("ulimit {ulimit}; exec \"$0\" server \"$1\"");
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).arg(program).arg(home.config());
    for (name, _) in command.get_envs() {
        shell.env_remove(name);
    }
    command = shell;
    Foreground::run(home, command)
}

#[test]
fn the_hard_limit_on_open_files_counts() {
    let home = Home::new("4lw.commands.whitelist=*");
    let hard = Command::new("bash").args(["-c", "ulimit -Hn"]).output().unwrap().stdout;
    let hard = String::from_utf8(hard).unwrap();
    let server = limited(&home, "-Sn 100");
    eventually("an answer", || word(home.port, "srvr").is_some());
    let mntr = word(home.port, "mntr").unwrap();
    let line = format!("zk_max_file_descriptor_count\t{hard}");
    assert!(hard.trim() == "unlimited" || mntr.contains(&line), "{hard}: {mntr}");
    assert_eq!(server.stop("TERM"), 0);
}

/// The first log's file is made for the first session: with all descriptors in clients' hands,
/// that ended the server.
#[test]
fn a_crowd_of_clients_leaves_descriptors_to_the_disk() {
    let home = Home::new("maxClientCnxns=0");
    let server = limited(&home, "-n 200");
    eventually("an answer", || word(home.port, "srvr").is_some());
    let crowd: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, home.port)).unwrap()).collect();
    let turned_away = |stream: &&TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let mut stream: &TcpStream = stream;
        !matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    eventually("the end of those beyond the limit", || {
        crowd.iter().filter(turned_away).count() == 300 - 136
    });
    let mut first = crowd.iter().find(|stream| !turned_away(stream)).unwrap();
    first.set_nonblocking(false).unwrap();
    first.write_all(&connect_request(10_000)).unwrap();
    let mut answer = [0; 41];
    first.read_exact(&mut answer).expect("a session is made");
    assert_ne!(answer[8..12], [0; 4], "a timeout was agreed on");
    let log = log(&home);
    assert!(log.contains("the limit is 136: the rest of the files"), "{log}");
    assert_eq!(server.stop("TERM"), 0);
}

/// Asks for a new session.
fn connect_request(timeout_ms: i32) -> Vec<u8> {
    let mut connect = vec![0, 0, 0, 45];
    connect.extend([0; 12]);
    connect.extend(timeout_ms.to_be_bytes());
    connect.extend([0; 8]);
    connect.extend(16_i32.to_be_bytes());
    connect.extend([0; 17]);
    connect
}

#[test]
fn the_log_tells_what_clients_did_wrong_and_which_sessions_expired() {
    let home = Home::new("tickTime=100\nminSessionTimeout=200");
    let config = home.config();
    let server = Foreground::start(&home, &["server", config.to_str().unwrap()]);
    eventually("an answer", || word(home.port, "srvr").is_some());
    // A frame that is far too long, and a session that is never heard of again.
    let mut huge = TcpStream::connect((Ipv4Addr::LOCALHOST, home.port)).unwrap();
    huge.write_all(&0x4000_0000_i32.to_be_bytes()).unwrap();
    let mut silent = TcpStream::connect((Ipv4Addr::LOCALHOST, home.port)).unwrap();
    silent.write_all(&connect_request(200)).unwrap();
    eventually("both lines", || {
        let log = log(&home);
        let closed = "connection closed client=127.0.0.1 reason=FrameLength(1073741824)";
        log.contains(closed) && log.contains("session expired session=0x1")
    });
    assert_eq!(server.stop("TERM"), 0);
    assert!(!log(&home).contains("ERROR"), "{}", log(&home));
}
