//! A learner that floods its leader over a real socket: it is not read while what it asked for is
//! held, everybody else is served, and then it is read again.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use common::{Client, TIMEOUT, read_file, set, wait_until};
use rookeeper_jute::quorum::{LearnerInfo, PacketType};
use rookeeper_jute::{Encode, OpCode, ServerId, SessionId, Xid, Zxid};
use rookeeper_replica::ServerState;
use rookeeper_server::config::{Invocation, load};
use rookeeper_server::{Server, ServerHandle};
use rookeeper_store::RealDisk;
use rookeeper_store::disk::{Disk, DiskFile, DiskLock, FileInfo};
use rookeeper_zab::Forward;
use rookeeper_zab::leader::LoadLimits;
use rookeeper_zab::wire::{self, PacketReader};

const VOTERS: usize = 3;
/// The observer that this test plays.
const FLOODER: i64 = 4;
const SESSION: SessionId = SessionId(0x0400_0000_0000_0001);

/// Whether a disk does what it is asked to.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn shut(&self, shut: bool) {
        *self.0.0.lock().unwrap() = shut;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let shut = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(shut, |shut| *shut).unwrap());
    }
}

/// The real disk, whose syncs take for ever while its gate is shut.
struct GatedDisk(Gate);

struct GatedFile(Box<dyn DiskFile>, Gate);

impl GatedDisk {
    fn gated(&self, file: io::Result<Box<dyn DiskFile>>) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(GatedFile(file?, self.0.clone())))
    }
}

impl Disk for GatedDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(dir)
    }
    fn is_writable(&self, dir: &Path) -> bool {
        RealDisk.is_writable(dir)
    }
    fn info(&self, path: &Path) -> io::Result<Option<FileInfo>> {
        RealDisk.info(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.gated(RealDisk.create(path))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        RealDisk.open(path)
    }
    fn open_for_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.gated(RealDisk.open_for_write(path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        RealDisk.lock(path)
    }
    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.free_space(dir)
    }
}

impl DiskFile for GatedFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn file_len(&self) -> io::Result<u64> {
        self.0.file_len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.1.pass();
        self.0.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.1.pass();
        self.0.sync_all()
    }
}

struct Ensemble {
    _directory: tempfile::TempDir,
    /// Quorum, election and clients of each voter; then the observer's, where nobody listens.
    ports: Vec<u16>,
    gates: Vec<Gate>,
    servers: Vec<ServerHandle>,
}

impl Ensemble {
    fn start() -> Ensemble {
        // ROOKEEPER_LOG=debug shows what the servers say.
        if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("ROOKEEPER_LOG") {
            let _ = tracing_subscriber::fmt().with_env_filter(filter).try_init();
        }
        let listeners: Vec<TcpListener> =
            (0..3 * (VOTERS + 1)).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let ports: Vec<u16> = listeners.iter().map(port).collect();
        drop(listeners);
        let directory = tempfile::tempdir().unwrap();
        let (gates, servers) = (Vec::new(), Vec::new());
        let mut ensemble = Ensemble { _directory: directory, ports, gates, servers };
        for id in 1..=VOTERS {
            let home = ensemble._directory.path().join(format!("server{id}"));
            std::fs::create_dir_all(home.join("data")).unwrap();
            std::fs::write(home.join("data/myid"), id.to_string()).unwrap();
            let mut text = format!(
                "dataDir={}\nclientPort={}\ntickTime=500\ninitLimit=20\nsyncLimit=20\n",
                home.join("data").display(),
                ensemble.ports[3 * id - 1],
            );
            for (at, ports) in ensemble.ports.chunks(3).enumerate() {
                let role = if at < VOTERS { "participant" } else { "observer" };
                let (quorum, election) = (ports[0], ports[1]);
                text += &format!("server.{}=127.0.0.1:{quorum}:{election}:{role}\n", at + 1);
            }
            let file = home.join("zoo.cfg");
            std::fs::write(&file, text).unwrap();
            let call = Invocation::new([file.display().to_string()], |_| None).unwrap();
            let gate = Gate::default();
            let disk = Arc::new(GatedDisk(gate.clone()));
            let server = Server::start_on(load(&call, &read_file).unwrap(), disk).unwrap();
            ensemble.gates.push(gate);
            ensemble.servers.push(server);
        }
        ensemble
    }

    /// Which voter leads, from 0, once all serve.
    fn leader(&self) -> usize {
        let mut leader = None;
        wait_until("a leader that all follow", || {
            let report = |server: &ServerHandle| server.inspector().member(|r| r.report()).unwrap();
            let reports: Vec<_> = self.servers.iter().map(report).collect();
            leader = reports.iter().position(|report| report.state == ServerState::Leading);
            leader.is_some() && reports.iter().all(|report| report.serving)
        });
        leader.unwrap()
    }

    fn address(&self, index: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[3 * index + 2]))
    }

    fn proposed(&self, leader: usize) -> u64 {
        let report = self.servers[leader].inspector().member(|replica| replica.report()).unwrap();
        u64::from(report.leading.expect("it leads still").proposed.counter())
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        // A server whose disk does nothing could not stop.
        self.gates.iter().for_each(|gate| gate.shut(false));
    }
}

/// What the bare observer has heard.
#[derive(Default)]
struct Heard {
    up: AtomicBool,
    /// Counter of the last transaction that it was informed of.
    last: AtomicU64,
    ended: AtomicBool,
}

/// Speaks for the observer until its connection ends: every packet as Java's would answer it.
fn observe(mut stream: TcpStream, answers: &Sender<Vec<u8>>, heard: &Heard) {
    let mut reader = PacketReader::new(1 << 20);
    let mut chunk = [0; 65_536];
    let mut last = Zxid::ZERO;
    loop {
        match stream.read(&mut chunk) {
            Ok(count @ 1..) => reader.push(&chunk[..count]),
            _ => return heard.ended.store(true, Ordering::Relaxed),
        }
        while let Some(packet) = reader.next_packet().unwrap() {
            let mut answer = Vec::new();
            match PacketType::from_i32(packet.packet_type) {
                Some(PacketType::LeaderInfo) => {
                    let epoch = Some(&(-1i32).to_be_bytes()[..]);
                    wire::packet(PacketType::AckEpoch, Zxid::ZERO, epoch, &mut answer);
                }
                Some(PacketType::NewLeader) => {
                    wire::packet(PacketType::Ack, packet.zxid, None, &mut answer);
                }
                Some(PacketType::UpToDate) => heard.up.store(true, Ordering::Relaxed),
                // One that comes earlier is not answered, and the leader counts on that.
                Some(PacketType::Ping) if !heard.up.load(Ordering::Relaxed) => {}
                Some(PacketType::Ping) => {
                    wire::touches(packet.zxid, &[(SESSION, 60_000)], &mut answer)
                }
                Some(PacketType::Inform) => {
                    assert!(packet.zxid > last, "in order");
                    last = packet.zxid;
                    heard.last.store(u64::from(last.counter()), Ordering::Relaxed);
                }
                Some(PacketType::Snap) => panic!("the log has everything"),
                _ => {}
            }
            if !answer.is_empty() && answers.send(answer).is_err() {
                return heard.ended.store(true, Ordering::Relaxed);
            }
        }
    }
}

fn forward(cxid: i32, op: OpCode, body: Vec<u8>, own: bool) -> Vec<u8> {
    let identities = (!own).then(std::sync::Arc::default);
    let (session, cxid, op) = (SESSION, Xid(cxid), op.to_i32());
    let mut bytes = Vec::new();
    wire::request(&Forward { session, cxid, op, body, identities }, &mut bytes);
    bytes
}

/// Waits until a condition holds that takes many requests.
fn wait_long(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + 6 * TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An observer that is up and has a session.
fn observer(ensemble: &Ensemble, leader: usize, heard: &Arc<Heard>) -> Arc<Mutex<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", ensemble.ports[3 * leader])).unwrap();
    let info = LearnerInfo {
        server_id: ServerId(FLOODER),
        protocol_version: wire::PROTOCOL_VERSION,
        config_version: 0,
    };
    let mut bytes = Vec::new();
    wire::learner_info(true, 0, &info, &mut bytes);
    (&stream).write_all(&bytes).unwrap();
    let writer = Arc::new(Mutex::new(stream.try_clone().unwrap()));
    let (answers, to_write) = channel::<Vec<u8>>();
    let (for_answers, heard_there) = (writer.clone(), heard.clone());
    std::thread::spawn(move || observe(stream, &answers, &heard_there));
    // In order, behind the part of the flood that stands before an answer, for as long as the
    // leader does not read.
    std::thread::spawn(move || {
        to_write.iter().all(|answer| for_answers.lock().unwrap().write_all(&answer).is_ok())
    });
    wait_until("the observer", || heard.up.load(Ordering::Relaxed));
    let before = ensemble.proposed(leader);
    let session = forward(0, OpCode::CreateSession, 60_000i32.to_bytes(), true);
    writer.lock().unwrap().write_all(&session).unwrap();
    wait_until("its session", || heard.last.load(Ordering::Relaxed) > before);
    writer
}

#[test]
fn a_learner_that_floods_its_leader_is_not_read_until_half_is_done() {
    let requests_max = LoadLimits::default().requests_max as u64;
    let flood = requests_max + requests_max / 2;
    let ensemble = Ensemble::start();
    let leader = ensemble.leader();
    let heard = Arc::new(Heard::default());
    let writer = observer(&ensemble, leader, &heard);
    let mut calm = Client::connect(ensemble.address((leader + 1) % VOTERS));
    assert_eq!(calm.create("/calm", b"before", 0).header.err, 0);

    // What the leader takes up stays in its memory from now on.
    ensemble.gates[leader].shut(true);
    let before = ensemble.proposed(leader);
    let written = Arc::new(AtomicBool::new(false));
    let done = written.clone();
    let flooding = std::thread::spawn(move || {
        let body = set("/nobody", &[b'x'; 400]).to_bytes();
        for first in (1..=flood).step_by(100) {
            let requests = (first..first + 100)
                .flat_map(|cxid| forward(cxid as i32, OpCode::SetData, body.clone(), false));
            let requests: Vec<u8> = requests.collect();
            writer.lock().unwrap().write_all(&requests).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    wait_long("as many as the leader holds", || ensemble.proposed(leader) - before >= requests_max);
    // One read more may have been under way.
    let bound = before + requests_max + 1000;
    let calm_from = Instant::now();
    let mut asked = 0;
    while calm_from.elapsed() < Duration::from_secs(1) {
        calm.send(OpCode::SetData, &set("/calm", b"meanwhile"));
        asked += 1;
        std::thread::sleep(Duration::from_millis(100));
        let proposed = ensemble.proposed(leader);
        assert!(proposed <= bound + asked, "{proposed} of {before} and {flood}");
    }
    assert!(!written.load(Ordering::Relaxed), "the rest waits in the sockets");
    let served = (0..asked).map(|_| calm.reply().header.err).collect::<Vec<_>>();
    assert!(served.iter().all(|err| *err == 0), "a quorum without the leader's disk: {served:?}");

    ensemble.gates[leader].shut(false);
    flooding.join().unwrap();
    let all = before + flood + asked;
    wait_long("the whole flood", || {
        assert!(!heard.ended.load(Ordering::Relaxed), "who is not read is not sent away");
        heard.last.load(Ordering::Relaxed) == all
    });
    assert_eq!(ensemble.proposed(leader), all);
    assert_eq!(calm.set("/calm", b"after").header.err, 0);
}
