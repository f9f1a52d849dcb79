//! Four-letter words: which there are, which are answered, and the text of each answer, from plain
//! facts. No socket and no lock is touched here; whoever answers gathers [`Facts`] first.
//!
//! Shapes are Java's (`org.apache.zookeeper.server.command`), byte for byte but for lists that
//! Java gives in the order of a hash table: those are in the order that they are gathered in.
//!
//! # Layout
//! * [`facts`]: what the answers are made of
//! * [`metrics`]: every metric of `mntr` by Java's name
//! * `monitor`: the answer of `mntr`
//! * [`quota`]: limits and use of quotas by namespace
//! * `text`: numbers, addresses and dates as Java writes them

pub mod facts;
pub mod metrics;
mod monitor;
pub mod quota;
mod text;

use std::fmt::Write;

use rookeeper_jute::SessionId;

use crate::config::Whitelist;
pub use facts::{
    ConfigurationFacts, ConnectionFacts, ConnectionSession, EnsembleFacts, Facts, LeaderFacts,
    Mode, SizeFacts, StatisticsFacts, WatchFacts,
};
pub use metrics::{Metrics, Summary};

/// Java's line where there is no server behind the port.
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";
/// The bits that telnet sends when it closes a connection.
const TELNET_CLOSE: [u8; 4] = [0xff, 0xf4, 0xff, 0xfd];
/// Java's default trace mask (`ZooTrace`).
pub const TRACE_MASK_DEFAULT: i64 = 0b1_0011_0010;

/// A four-letter word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    /// The configuration.
    Conf,
    /// Connections in full.
    Cons,
    /// Reset of the connections' statistics.
    Crst,
    /// Sizes of the directories.
    Dirs,
    /// Sessions, ephemerals and connections.
    Dump,
    /// The environment.
    Envi,
    /// The trace mask.
    Gtmk,
    /// Digests of the tree in the past.
    Hash,
    /// Whether writes are possible.
    Isro,
    /// All metrics.
    Mntr,
    /// Whether there is a process.
    Ruok,
    /// Sets the trace mask; eight bytes follow the word.
    Stmk,
    /// Reset of the server's statistics.
    Srst,
    /// The server in short.
    Srvr,
    /// The server and its connections in short.
    Stat,
    /// Watches by connection.
    Wchc,
    /// Watches by path.
    Wchp,
    /// Watches in numbers.
    Wchs,
    /// Telnet's closing bytes; they close the connection.
    TelnetClose,
}

const WORDS: [(Word, &str); 19] = [
    (Word::Conf, "conf"),
    (Word::Cons, "cons"),
    (Word::Crst, "crst"),
    (Word::Dirs, "dirs"),
    (Word::Dump, "dump"),
    (Word::Envi, "envi"),
    (Word::Gtmk, "gtmk"),
    (Word::Hash, "hash"),
    (Word::Isro, "isro"),
    (Word::Mntr, "mntr"),
    (Word::Ruok, "ruok"),
    (Word::Stmk, "stmk"),
    (Word::Srst, "srst"),
    (Word::Srvr, "srvr"),
    (Word::Stat, "stat"),
    (Word::Wchc, "wchc"),
    (Word::Wchp, "wchp"),
    (Word::Wchs, "wchs"),
    (Word::TelnetClose, "telnet close"),
];

impl Word {
    /// The word that the first four bytes of a connection are, where they are one.
    pub fn from_bytes(bytes: [u8; 4]) -> Option<Word> {
        if bytes == TELNET_CLOSE {
            return Some(Word::TelnetClose);
        }
        WORDS.iter().find(|(_, name)| name.as_bytes() == bytes).map(|&(word, _)| word)
    }

    /// The word as text, as it stands in the whitelist.
    pub fn name(self) -> &'static str {
        let found = WORDS.iter().find(|(word, _)| *word == self);
        found.map(|&(_, name)| name).expect("every word is in the table")
    }

    /// The answer to a word that is not on the whitelist, or `None` where it is.
    pub fn refusal(self, whitelist: &Whitelist) -> Option<String> {
        let name = self.name();
        (!whitelist.allows(name))
            .then(|| format!("{name} is not executed because it is not in the whitelist.\n"))
    }

    /// Whether the answer lists connections.
    pub fn needs_connections(self) -> bool {
        matches!(self, Word::Cons | Word::Stat | Word::Dump)
    }

    /// Whether the answer lists or counts watches by path or connection.
    pub fn needs_watches(self) -> bool {
        matches!(self, Word::Wchc | Word::Wchp | Word::Wchs)
    }

    /// Whether the answer speaks of the files' sizes, which cost a look at the directories.
    pub fn needs_sizes(self) -> bool {
        matches!(self, Word::Conf | Word::Dirs)
    }
}

/// The answer to a word. Resets (`crst`, `srst`) and `stmk` have been carried out by the caller.
pub fn render(word: Word, facts: &Facts) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    render_into(word, facts, &mut out).expect("text in memory takes all that is written");
    out
}

fn render_into(word: Word, facts: &Facts, out: &mut String) -> std::fmt::Result {
    match word {
        Word::Ruok => return out.write_str("imok"),
        Word::Gtmk | Word::Stmk => return write!(out, "{}", facts.trace_mask),
        Word::Envi => return environment(facts, out),
        Word::Isro => return out.write_str(isro(facts)),
        Word::TelnetClose => return Ok(()),
        // Java writes no line end here.
        Word::Hash if !facts.serving => return out.write_str(NOT_SERVING),
        _ if !facts.serving => return writeln!(out, "{NOT_SERVING}"),
        _ => {}
    }
    match word {
        Word::Conf => conf(facts, out),
        Word::Cons => {
            for connection in &facts.connections {
                connection.write(false, out)?;
                writeln!(out)?;
            }
            writeln!(out)
        }
        Word::Crst => writeln!(out, "Connection stats reset."),
        Word::Srst => writeln!(out, "Server stats reset."),
        Word::Dirs => {
            writeln!(out, "datadir_size: {}", facts.sizes.data_dir)?;
            writeln!(out, "logdir_size: {}", facts.sizes.data_log_dir)
        }
        Word::Dump => dump(facts, out),
        Word::Hash => {
            for (zxid, digest) in &facts.digest_log {
                writeln!(out, "{:x}: {digest}", zxid.0)?;
            }
            Ok(())
        }
        Word::Mntr => monitor::write(facts, out),
        Word::Srvr | Word::Stat => stat(word == Word::Stat, facts, out),
        Word::Wchs => {
            let watches = &facts.watches;
            writeln!(
                out,
                "{} connections watching {} paths",
                watches.connections_len, watches.paths_len
            )?;
            writeln!(out, "Total watches:{}", watches.watches_len)
        }
        Word::Wchc => {
            for (session, paths) in &facts.watches.by_session {
                writeln!(out, "{session}")?;
                for path in paths {
                    writeln!(out, "\t{path}")?;
                }
            }
            writeln!(out)
        }
        Word::Wchp => {
            for (path, sessions) in &facts.watches.by_path {
                writeln!(out, "{path}")?;
                for session in sessions {
                    writeln!(out, "\t{session}")?;
                }
            }
            writeln!(out)
        }
        Word::Ruok | Word::Gtmk | Word::Stmk | Word::Envi | Word::Isro | Word::TelnetClose => {
            unreachable!("answered above, with or without a server")
        }
    }
}

fn isro(facts: &Facts) -> &'static str {
    match facts.mode {
        _ if !facts.serving => "null",
        Mode::ReadOnly => "ro",
        _ => "rw",
    }
}

/// Java: `ZooKeeperServer.dumpConf`.
fn conf(facts: &Facts, out: &mut String) -> std::fmt::Result {
    let (configuration, sizes) = (&facts.configuration, &facts.sizes);
    writeln!(out, "clientPort={}", configuration.client_port)?;
    writeln!(out, "secureClientPort={}", configuration.secure_client_port)?;
    writeln!(out, "dataDir={}", configuration.data_dir)?;
    writeln!(out, "dataDirSize={}", sizes.data_dir)?;
    writeln!(out, "dataLogDir={}", configuration.data_log_dir)?;
    writeln!(out, "dataLogSize={}", sizes.data_log_dir)?;
    writeln!(out, "tickTime={}", configuration.tick_time_ms)?;
    writeln!(out, "maxClientCnxns={}", configuration.max_connections_per_address)?;
    writeln!(out, "minSessionTimeout={}", configuration.session_timeout_ms_min)?;
    writeln!(out, "maxSessionTimeout={}", configuration.session_timeout_ms_max)?;
    writeln!(out, "clientPortListenBacklog={}", configuration.listen_backlog)?;
    writeln!(out, "serverId={}", configuration.server_id)?;
    let Some(ensemble) = &facts.ensemble else { return Ok(()) };
    ensemble_conf(ensemble, out)?;
    // Java: `ReadOnlyZooKeeperServer.dumpConf` tells no members; those of
    // `QuorumZooKeeperServer.dumpConf` end without a line end.
    if facts.mode == Mode::ReadOnly {
        return Ok(());
    }
    writeln!(out, "membership: ")?;
    out.write_str(&ensemble.membership)
}

fn ensemble_conf(ensemble: &EnsembleFacts, out: &mut String) -> std::fmt::Result {
    let ports = |ports: &[u16]| {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        ports.join("|")
    };
    writeln!(out, "initLimit={}", ensemble.init_limit)?;
    writeln!(out, "syncLimit={}", ensemble.sync_limit)?;
    writeln!(out, "electionAlg=3")?;
    writeln!(out, "electionPort={}", ports(&ensemble.election_ports))?;
    writeln!(out, "quorumPort={}", ports(&ensemble.quorum_ports))?;
    writeln!(out, "peerType={}", i32::from(ensemble.observer))
}

fn environment(facts: &Facts, out: &mut String) -> std::fmt::Result {
    writeln!(out, "Environment:")?;
    writeln!(out, "zookeeper.version={}", facts.version)?;
    for (key, value) in &facts.environment {
        writeln!(out, "{key}={value}")?;
    }
    Ok(())
}

/// Java: `StatCommand` and `ServerStats.toString`.
fn stat(with_clients: bool, facts: &Facts, out: &mut String) -> std::fmt::Result {
    writeln!(out, "Zookeeper version: {}", facts.version)?;
    if facts.mode == Mode::ReadOnly {
        writeln!(out, "READ-ONLY mode; serving only read-only clients")?;
    }
    if with_clients {
        writeln!(out, "Clients:")?;
        for connection in &facts.connections {
            connection.write(true, out)?;
            writeln!(out)?;
        }
        writeln!(out)?;
    }
    let statistics = &facts.statistics;
    let latency = &statistics.latency_ms;
    let average = text::double(latency.average());
    writeln!(out, "Latency min/avg/max: {}/{average}/{}", latency.min(), latency.max())?;
    writeln!(out, "Received: {}", statistics.packets_received)?;
    writeln!(out, "Sent: {}", statistics.packets_sent)?;
    writeln!(out, "Connections: {}", statistics.connections_alive)?;
    writeln!(out, "Outstanding: {}", statistics.outstanding_requests)?;
    writeln!(out, "Zxid: {}", statistics.last_processed_zxid)?;
    writeln!(out, "Mode: {}", facts.mode.name())?;
    writeln!(out, "Node count: {}", statistics.znode_count)?;
    let Some(leader) = facts.ensemble.as_ref().and_then(|ensemble| ensemble.leader) else {
        return Ok(());
    };
    let LeaderFacts { proposal_size_last, proposal_size_min, proposal_size_max, .. } = leader;
    writeln!(
        out,
        "Proposal sizes last/min/max: {proposal_size_last}/{proposal_size_min}/{proposal_size_max}"
    )
}

/// Java: `DumpCommand`, `ExpiryQueue.dump`, `DataTree.dumpEphemerals`.
fn dump(facts: &Facts, out: &mut String) -> std::fmt::Result {
    writeln!(out, "SessionTracker dump:")?;
    sessions(facts, out)?;
    writeln!(out, "ephemeral nodes dump:")?;
    writeln!(out, "Sessions with Ephemerals ({}):", facts.ephemerals.len())?;
    for (session, paths) in &facts.ephemerals {
        writeln!(out, "{session}:")?;
        for path in paths {
            writeln!(out, "\t{path}")?;
        }
    }
    writeln!(out, "Connections dump:")?;
    expiry("Connections", &facts.connection_expiry, out, |out, (address, session)| {
        write!(out, "ip: {} sessionId: {session}", text::socket_address(*address))
    })
}

/// Java: `SessionTrackerImpl`, `LeaderSessionTracker` and `LearnerSessionTracker.dumpSessions`.
fn sessions(facts: &Facts, out: &mut String) -> std::fmt::Result {
    let line = |out: &mut String, session: &SessionId| write!(out, "{session}");
    let local = facts.local_session_expiry.as_ref();
    if let Some(local) = local {
        expiry("Local Session", local, out, line)?;
    }
    match &facts.global_sessions {
        Some(sessions) => {
            writeln!(out, "Global Sessions({}):", sessions.len())?;
            for (session, timeout_ms) in sessions {
                writeln!(out, "{session}\t{timeout_ms}ms")?;
            }
            Ok(())
        }
        None if local.is_some() => expiry("Global Session", &facts.session_expiry, out, line),
        None => expiry("Session", &facts.session_expiry, out, line),
    }
}

fn expiry<T>(
    what: &str,
    sets: &[(i64, Vec<T>)],
    out: &mut String,
    line: impl Fn(&mut String, &T) -> std::fmt::Result,
) -> std::fmt::Result {
    let all: usize = sets.iter().map(|(_, set)| set.len()).sum();
    writeln!(out, "{what} Sets ({})/({all}):", sets.len())?;
    for (wall_ms, set) in sets {
        writeln!(out, "{} expire at {}:", set.len(), text::date(*wall_ms))?;
        for element in set {
            out.push('\t');
            line(out, element)?;
            out.push('\n');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
