//! All members of one ensemble.

use super::member::{Member, Mode};
use super::network::Network;
use super::program::Program;
use crate::server::scratch;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long anything may take on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// What an ensemble is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What each member runs.
    pub programs: Vec<Program>,
    /// How many of the last members are observers.
    pub observers: usize,
    /// Lines of zoo.cfg of all members; they come before the usual ones are added.
    pub config: Vec<String>,
    /// Properties of all members, `name=value`.
    pub properties: Vec<String>,
}

impl Plan {
    /// Voters that run these programs.
    pub fn new(programs: impl Into<Vec<Program>>) -> Plan {
        let (config, properties) = (Vec::new(), Vec::new());
        Plan { programs: programs.into(), observers: 0, config, properties }
    }

    /// The last `count` members are observers.
    pub fn observers(mut self, count: usize) -> Plan {
        self.observers = count;
        self
    }

    /// Adds a line of zoo.cfg.
    pub fn config(mut self, line: &str) -> Plan {
        self.config.push(line.to_owned());
        self
    }

    /// Adds a property, `name=value`.
    pub fn property(mut self, property: &str) -> Plan {
        self.properties.push(property.to_owned());
        self
    }
}

/// Lines of zoo.cfg that a plan may set otherwise.
const USUAL: [&str; 10] = [
    "tickTime=500",
    "initLimit=40",
    "syncLimit=10",
    "maxSessionTimeout=600000",
    "maxClientCnxns=0",
    "4lw.commands.whitelist=*",
    "admin.enableServer=false",
    "preAllocSize=1024",
    "autopurge.purgeInterval=0",
    "reconfigEnabled=false",
];

/// An address as it stands before a port.
fn bracketed(host: IpAddr) -> String {
    match host {
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) => format!("[{host}]"),
    }
}

/// An ensemble; its processes are killed and its files removed when it is dropped.
#[derive(Debug)]
pub struct Ensemble {
    /// The members, by index.
    pub members: Vec<Member>,
    /// Their addresses.
    pub network: Network,
    /// The lines `server.N=...` of all files, in place of those that the plan gives; with none, a
    /// member stands alone.
    pub servers: Option<Vec<String>>,
    /// Removed at the end.
    directory: Option<PathBuf>,
    plan: Plan,
}

impl Ensemble {
    /// Lays out an ensemble on the loopback address; nothing runs yet.
    pub fn prepare(name: &str, plan: Plan) -> Ensemble {
        let network = Network::loopback(plan.programs.len());
        Ensemble::prepare_on(name, plan, network, scratch(name))
    }

    /// Lays out an ensemble on these addresses, under this directory.
    pub fn prepare_on(name: &str, plan: Plan, network: Network, directory: PathBuf) -> Ensemble {
        let own = |index| directory.join(format!("{name}-{}", index + 1));
        let directories = (0..plan.programs.len()).map(own).collect();
        let mut ensemble = Ensemble::prepare_in(directories, plan, network);
        ensemble.directory = Some(directory);
        ensemble
    }

    /// Lays out an ensemble with a directory for each member, which the caller removes.
    pub fn prepare_in(directories: Vec<PathBuf>, plan: Plan, network: Network) -> Ensemble {
        assert_eq!(directories.len(), plan.programs.len(), "a directory for each member");
        let members = plan.programs.iter().zip(directories).enumerate();
        let members = members.map(|(index, (program, directory))| {
            Member::new(index, program.clone(), directory, &network)
        });
        let members = members.collect();
        Ensemble { members, network, servers: None, directory: None, plan }
    }

    /// Starts all members at once and waits until all serve.
    pub fn start(name: &str, plan: Plan) -> Ensemble {
        let mut ensemble = Ensemble::prepare(name, plan);
        ensemble.launch_all();
        ensemble.wait_serving();
        ensemble
    }

    /// The configuration file of a member.
    pub fn config(&self, index: usize) -> String {
        let member = &self.members[index];
        let mut text = format!("dataDir={}\n", member.data().display());
        text.push_str(&format!("clientPort={}\n", member.address.port()));
        let given: Vec<&String> = self.plan.config.iter().chain(&member.config).collect();
        for line in USUAL {
            let key = line.split('=').next().expect("split gives one part at least");
            if !given.iter().any(|other| other.split('=').next() == Some(key)) {
                text.push_str(&format!("{line}\n"));
            }
        }
        for line in given {
            text.push_str(&format!("{line}\n"));
        }
        if let Some(lines) = &self.servers {
            lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
            return text;
        }
        let voters = self.members.len() - self.plan.observers;
        if index >= voters {
            text.push_str("peerType=observer\n");
        }
        for other in 0..self.members.len() {
            let (host, ports) = self.network.seen_from(index, other);
            let role = if other >= voters { ":observer" } else { "" };
            let (id, quorum, election) = (other + 1, ports.quorum, ports.election);
            let host = bracketed(host);
            text.push_str(&format!("server.{id}={host}:{quorum}:{election}{role}\n"));
        }
        text
    }

    /// Starts a member's process, without waiting.
    pub fn launch(&mut self, index: usize) {
        let config = self.config(index);
        let common = self.plan.properties.clone();
        let member = &mut self.members[index];
        let own = member.properties.clone();
        member.properties = common.into_iter().chain(own.iter().cloned()).collect();
        member.launch(&config);
        member.properties = own;
    }

    /// Starts all members that do not run, without waiting.
    pub fn launch_all(&mut self) {
        for index in 0..self.members.len() {
            if !self.members[index].is_running() {
                self.launch(index);
            }
        }
    }

    /// Where clients connect, by member.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.address).collect()
    }

    /// What each member does now.
    pub fn modes(&self) -> Vec<Option<Mode>> {
        self.members.iter().map(Member::mode).collect()
    }

    /// The members that lead, follow or observe.
    pub fn serving(&self) -> Vec<usize> {
        let modes = self.modes().into_iter().enumerate();
        modes.filter(|(_, mode)| mode.is_some()).map(|(index, _)| index).collect()
    }

    /// Waits until `done` holds.
    ///
    /// # Panics
    /// After [`PATIENCE`], with the members' states and the ends of their logs; and at once where
    /// a process has ended that nobody ended.
    pub fn wait(&mut self, what: &str, mut done: impl FnMut(&Ensemble) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            let ended = self.ended();
            if Instant::now() > deadline || !ended.is_empty() {
                let state = self.describe();
                panic!("waited for {what}; ended by themselves: {ended:?}\n{state}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Members whose processes have ended without being told to.
    pub fn ended(&mut self) -> Vec<usize> {
        let mut gone = Vec::new();
        for (index, member) in self.members.iter_mut().enumerate() {
            if member.pid().is_some() && !member.is_running() {
                gone.push(index);
            }
        }
        gone
    }

    /// Waits until every member that runs serves, exactly one of them as leader.
    pub fn wait_serving(&mut self) {
        self.wait("all members that run to serve", |ensemble| {
            let running = ensemble.members.iter().filter(|m| m.pid().is_some() && !m.is_paused());
            let modes: Option<Vec<Mode>> = running.map(Member::mode).collect();
            modes.is_some_and(|modes| modes.iter().filter(|m| **m == Mode::Leader).count() == 1)
        });
    }

    /// Waits until one member leads, and says which.
    pub fn wait_leader(&mut self) -> usize {
        let mut leader = None;
        self.wait("a leader", |ensemble| {
            leader = ensemble.leader();
            leader.is_some()
        });
        leader.expect("the wait ended with one")
    }

    /// The member that says that it leads.
    pub fn leader(&self) -> Option<usize> {
        self.modes().iter().position(|mode| *mode == Some(Mode::Leader))
    }

    /// Waits until so many followers are in step with the leader, as that says itself.
    pub fn wait_followers(&mut self, leader: usize, count: usize) {
        let count = i64::try_from(count).expect("few members");
        self.wait("the leader to count its followers", |ensemble| {
            ensemble.members[leader].measure("zk_synced_followers") == Some(count)
        });
    }

    /// Waits until all that serve have applied the same last transaction.
    ///
    /// # Panics
    /// Where they do not meet.
    pub fn wait_equal_zxids(&mut self) -> i64 {
        let mut meeting = 0;
        self.wait("equal zxids", |ensemble| {
            let serving = ensemble.members.iter().filter(|m| m.pid().is_some() && !m.is_paused());
            let zxids: Option<Vec<i64>> = serving.map(Member::zxid).collect();
            let Some(zxids) = zxids else { return false };
            meeting = zxids[0];
            zxids.iter().all(|zxid| *zxid == zxids[0])
        });
        meeting
    }

    /// The member that runs becomes `program` on the same directory: a clean stop, a start.
    pub fn replace(&mut self, index: usize, program: Program) {
        self.members[index].stop();
        self.members[index].program = program;
        self.launch(index);
        self.wait("the replaced member to serve", |e| e.members[index].mode().is_some());
    }

    /// Starts members again so that `leader` leads: it starts with just enough of the others for a
    /// quorum, the highest server ids last. Its history must be the newest.
    pub fn start_led_by(&mut self, leader: usize) {
        let voters = self.members.len() - self.plan.observers;
        self.launch(leader);
        let others = (0..voters).filter(|other| *other != leader).take(voters / 2);
        for other in others.collect::<Vec<_>>() {
            self.launch(other);
        }
        self.wait("the leader that was asked for", |e| {
            e.members[leader].mode() == Some(Mode::Leader)
        });
        self.launch_all();
        self.wait_serving();
        assert_eq!(self.leader(), Some(leader), "another member leads\n{}", self.describe());
    }

    /// The members' states and the ends of their logs.
    pub fn describe(&mut self) -> String {
        let mut text = String::new();
        for member in &mut self.members {
            let running = member.is_running();
            let (id, mode) = (member.server_id(), member.mode());
            text.push_str(&format!("--- {id}: {:?}, runs: {running}, {mode:?}\n", member.program));
            let log = member.log_of_this_run();
            let tail: Vec<&str> = log.lines().rev().take(25).collect();
            for line in tail.iter().rev() {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        for member in &mut self.members {
            member.kill();
        }
        let Some(directory) = &self.directory else { return };
        if std::thread::panicking() && std::env::var_os("INTEROP_KEEP").is_some() {
            eprintln!("files are kept in {}", directory.display());
            return;
        }
        let _ = fs::remove_dir_all(directory);
    }
}
