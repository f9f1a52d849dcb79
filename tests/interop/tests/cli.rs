//! Java's unmodified command line client against a Java server and against ours: it prints the
//! same.

use rookeeper_interop::server::{Kind, Server, Settings, java_script, java_wanted, scratch};
use std::io::Write as _;
use std::process::{Command, Stdio};

const COMMANDS: &str = "\
create /a data
create -s /a/seq one
create -e /a/eph two
create -e -s /a/both three
create -c /box
create -t 3600000 /ttl
create /a again
create /no/parent x
ls /
ls -s /a
ls -R /
ls -w /a
get /a
get -s /a
get -w /a
set /a changed
set -s -v 1 /a more
set -v 9 /a wrong
stat /a
stat -w /a/eph
addauth digest u:p
whoami
setAcl /a auth::cdrwa
getAcl -s /a
setAcl -R /box world:anyone:r
getAcl /box
create /secret x digest:v:Mfy8apI9YguGKmh+AxUmAFSwkII=:r
get /secret
addWatch -m PERSISTENT /a
addWatch -m PERSISTENT_RECURSIVE /
create /a/b c
delete /a/b
delete -v 3 /a
removewatches -a /a
getAllChildrenNumber /
getEphemerals
getEphemerals /a/e
setquota -n 5 /a
listquota /a
create /a/q1 1
setquota -B 100 /box
listquota /box
delquota /a
sync /
config
reconfig -remove 1
delete /missing
deleteall /a
ls /
printwatches off
close
quit
";

/// What the client printed, as a set of lines: prompts, clocks, ports and session ids left out. The
/// order of events and answers on the terminal is a race of the client's own threads.
fn run(kind: Kind) -> Vec<String> {
    let settings = Settings::usual().property("zookeeper.extendedTypesEnabled", "true");
    let server = Server::start(kind, &scratch("cli"), &settings);
    let address = format!("127.0.0.1:{}", server.port);
    let mut client = Command::new(java_script())
        .args(["cli", "-server", &address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the script can be started");
    let mut input = client.stdin.take().expect("stdin is a pipe");
    input.write_all(COMMANDS.as_bytes()).expect("the client reads its commands");
    drop(input);
    let output = client.wait_with_output().expect("the client ends after quit");
    server.remove();
    let mut lines = Vec::new();
    for text in [output.stdout, output.stderr] {
        for line in String::from_utf8_lossy(&text).lines() {
            lines.push(masked(line, &address));
        }
    }
    lines.retain(|line| !line.trim().is_empty() && !line.contains("org.jline."));
    lines.sort();
    lines
}

fn masked(line: &str, address: &str) -> String {
    // A prompt ends in its number and "] "; several may stand before an answer.
    let mut line = line.replace(address, "ADDRESS");
    while let Some(start) = line.find("[zk: ADDRESS(") {
        let end = line[start..].find(") ").and_then(|at| {
            let tail = start + at + 2;
            line[tail..].find(']').map(|close| tail + close + 1)
        });
        match end {
            Some(end) => line.replace_range(start..end, ""),
            None => break,
        }
    }
    let line = line.trim();
    for clock in ["ctime = ", "mtime = "] {
        if line.starts_with(clock) {
            return format!("{clock}TIME");
        }
    }
    if line.starts_with("ephemeralOwner = 0x1") {
        return "ephemeralOwner = SESSION".to_owned();
    }
    line.to_owned()
}

#[test]
fn zk_cli_prints_the_same_against_either_server() {
    if !java_wanted() {
        return;
    }
    let (java, ours) = (run(Kind::Java), run(Kind::Rookeeper));
    assert!(java.iter().any(|line| line.contains("NodeDataChanged")), "{java:#?}");
    assert!(java.len() > 100, "the client carried out its commands: {java:#?}");
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|line| !those.contains(line)).cloned().collect()
    };
    assert_eq!(only(&java, &ours), only(&ours, &java), "lines of one run only");
    assert_eq!(java, ours);
}
