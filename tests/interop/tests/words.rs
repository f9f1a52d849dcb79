//! Four-letter words, beside a Java server: the same lines but for numbers that belong to the
//! process.

use rookeeper_interop::connection::four_letter_word;
use rookeeper_interop::request::{self, text};
use rookeeper_interop::script::{Script, add_watch, children, create, exists, get};
use rookeeper_interop::server::{Server, Settings};
use rookeeper_interop::wire::opcode;

/// Digits, and hexadecimal numbers after 0x, as one sign; paths of this run left out.
fn masked(line: &str, server: &Server) -> String {
    let line = line.replace(&server.directory.display().to_string(), "DIR");
    // Clients read the numbers; what follows them is each server's own.
    if line.starts_with("Zookeeper version: 3.9.5-") {
        return "Zookeeper version: 3.9.5".to_owned();
    }
    let mut out = String::new();
    let mut rest = line.as_str();
    while let Some(character) = rest.chars().next() {
        let hexadecimal = rest.starts_with("0x");
        let number = rest.strip_prefix("0x").unwrap_or(rest);
        let end = number
            .find(|c: char| !(c.is_ascii_digit() || (hexadecimal && c.is_ascii_hexdigit())))
            .unwrap_or(number.len());
        if end == 0 {
            out.push(character);
            rest = &rest[character.len_utf8()..];
        } else {
            out.push_str(if hexadecimal { "0xN" } else { "N" });
            rest = &number[end..];
        }
    }
    out
}

fn ask(server: &Server, word: &str) -> String {
    four_letter_word(server.port, word).unwrap_or_else(|| panic!("no answer to {word}"))
}

/// Sorted, for connections and sessions are listed in the order of hash maps.
fn lines(server: &Server, word: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        ask(server, word).lines().map(|line| masked(line, server)).collect();
    lines.sort();
    lines
}

fn compare(script: &mut Script, words: &[&str], read: impl Fn(&Server, &str) -> Vec<String>) {
    let [java, ours] = script.pair().sides();
    for word in words {
        assert_eq!(read(&java.server, word), read(&ours.server, word), "{word}");
    }
}

fn busy(name: &str) -> Option<Script> {
    let mut script = Script::start(name, &Settings::usual())?;
    script.open(0);
    script.open(1);
    script.send(0, vec![create("/a", b"1234", 0), create("/e", b"", 1), create("/a/e", b"", 1)]);
    script.send(1, vec![create("/f", b"", 1), get("/a", true), exists("/none", true)]);
    script.send(1, vec![children("/a", true), add_watch("/a", 0), add_watch("/", 1)]);
    script.send(0, vec![request::path_only(opcode::GET_ACL, &text("/a")), get("/a", true)]);
    Some(script)
}

#[test]
fn words_of_fixed_answers_are_the_same_to_the_byte() {
    let Some(mut script) = busy("fixed-words") else { return };
    let whole = |server: &Server, word: &str| vec![ask(server, word)];
    compare(&mut script, &["ruok", "isro", "gtmk", "crst", "srst", "wchs"], whole);
    script.finish();
}

#[test]
fn words_of_counts_have_the_same_lines() {
    let Some(mut script) = busy("counting-words") else { return };
    compare(&mut script, &["srvr", "conf", "dirs", "wchc", "wchp", "hash"], lines);
    script.finish();
}

#[test]
fn counts_of_the_monitor_word_are_the_same() {
    let Some(mut script) = busy("monitor") else { return };
    let names = [
        "server_state",
        "ephemerals_count",
        "num_alive_connections",
        "outstanding_requests",
        "watch_count",
        "znode_count",
        "approximate_data_size",
        "global_sessions",
        "local_sessions",
        "connection_drop_probability",
        "auth_failed_count",
        "outstanding_tls_handshake",
    ];
    let chosen = |server: &Server, word: &str| -> Vec<String> {
        let answer = ask(server, word);
        let wanted = |line: &&str| {
            let name = line.split('\t').next().unwrap_or_default();
            names.iter().any(|wanted| name == format!("zk_{wanted}"))
        };
        let mut found: Vec<String> = answer.lines().filter(wanted).map(str::to_owned).collect();
        found.sort();
        assert_eq!(found.len(), names.len(), "{answer}");
        found
    };
    compare(&mut script, &["mntr"], chosen);
    script.finish();
}

#[test]
fn sessions_and_connections_are_listed_alike() {
    let Some(mut script) = busy("dump") else { return };
    // Dates, and how many connections and sessions share an expiry bucket, belong to the moment.
    let shape = |server: &Server, word: &str| {
        let mut lines = lines(server, word);
        lines.retain(|line| !line.contains(" expire at "));
        lines.retain(|line| !line.starts_with("Session Sets") && !line.starts_with("cnxn Sets"));
        lines
    };
    compare(&mut script, &["dump", "stat"], shape);
    let keys = |server: &Server, word: &str| -> Vec<String> {
        let answer = ask(server, word);
        let with_session = answer.lines().filter(|line| line.contains("sid=0x"));
        with_session
            .map(|line| {
                let fields = line.split_once('(').unwrap_or_default().1.split(',');
                let fields = fields.map(|field| field.split('=').next().unwrap_or_default());
                fields.collect::<Vec<_>>().join(",")
            })
            .collect()
    };
    compare(&mut script, &["cons"], keys);
    script.finish();
}

#[test]
fn words_that_are_not_allowed_say_so() {
    let mut settings = Settings::usual();
    settings.config.retain(|(key, _)| key != "4lw.commands.whitelist");
    let Some(mut script) = Script::start("whitelist", &settings) else { return };
    let whole = |server: &Server, word: &str| vec![ask(server, word)];
    compare(&mut script, &["ruok", "mntr", "stat", "dump", "wchp", "envi"], whole);
    compare(&mut script, &["srvr"], lines);
}
