//! A server in a directory of its own, and a client that speaks the protocol byte by byte.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rookeeper_jute::proto::{
    ConnectRequest, ConnectResponse, CreateRequest, DeleteRequest, ExistsRequest, GetDataRequest,
    GetDataResponse, ReplyHeader, RequestHeader, SetDataRequest, WatcherEvent,
};
use rookeeper_jute::{Acl, Decode, Encode, Id, OpCode, Reader, SessionId, Xid, Zxid};
use rookeeper_server::config::{Invocation, load};
use rookeeper_server::{Server, ServerHandle, StartError};
use rookeeper_store::{Disk, RealDisk, SimulatedDisk};

/// How long anything may take before a test fails.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// The file system as the binary reads it.
pub fn read_file(path: &Path, len_max: u64) -> std::io::Result<Option<Vec<u8>>> {
    match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(len_max).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
    }
}

/// A data directory with a configuration, removed at the end.
pub struct Home {
    directory: tempfile::TempDir,
    settings: String,
}

impl Home {
    /// A directory whose servers have these lines in their zoo.cfg.
    pub fn new(settings: &str) -> Home {
        Home { directory: tempfile::tempdir().unwrap(), settings: settings.to_owned() }
    }

    /// Starts a server on a free port.
    pub fn start(&self) -> ServerHandle {
        self.try_start().unwrap()
    }

    pub fn try_start(&self) -> Result<ServerHandle, StartError> {
        self.try_start_on(Arc::new(RealDisk))
    }

    /// Starts a server whose files are on a disk of the test's.
    pub fn start_on(&self, disk: &SimulatedDisk) -> ServerHandle {
        self.try_start_on(Arc::new(disk.clone())).unwrap()
    }

    fn try_start_on(&self, disk: Arc<dyn Disk>) -> Result<ServerHandle, StartError> {
        let data = self.directory.path().join("data");
        let file = self.directory.path().join("zoo.cfg");
        let text = format!(
            "dataDir={}\nclientPort=0\ntickTime=2000\nmaxClientCnxns=0\n{}\n",
            data.display(),
            self.settings
        );
        std::fs::write(&file, text).unwrap();
        let call = Invocation::new([file.display().to_string()], |_| None).unwrap();
        Server::start_on(load(&call, &read_file).unwrap(), disk)
    }

    pub fn data(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }
}

/// The same settings with one I/O thread and with four.
pub fn homes(settings: &str) -> [Home; 2] {
    [1, 4].map(|threads| Home::new(&format!("{settings}\nnio.numWorkerThreads={threads}")))
}

/// Where a client on this machine reaches the server by IPv4.
pub fn address(server: &ServerHandle) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), server.local_addr().port())
}

/// Waits until a condition holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A reply's header and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub header: ReplyHeader,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn data(&self) -> Option<Vec<u8>> {
        assert_eq!(self.header.err, 0);
        GetDataResponse::from_bytes(&self.body).unwrap().data.map(<[u8]>::to_vec)
    }

    pub fn event(&self) -> (i32, String) {
        assert_eq!(self.header.xid, Xid::NOTIFICATION);
        let event = WatcherEvent::from_bytes(&self.body).unwrap();
        (event.event_type, event.path.unwrap().into_owned())
    }
}

/// One connection.
pub struct Client {
    pub stream: TcpStream,
    pub session: SessionId,
    pub password: Vec<u8>,
    pub timeout_ms: i32,
    /// Whether the server says that it can only be read.
    pub read_only: bool,
    xid: i32,
}

impl Client {
    /// Connects with a new session.
    pub fn connect(address: SocketAddr) -> Client {
        Self::resume(address, SessionId(0), &[0; 16])
    }

    /// Connects with a session that exists.
    pub fn resume(address: SocketAddr, session: SessionId, password: &[u8]) -> Client {
        let mut client = Self::ask(address, session, password, 30_000, false);
        client.connected();
        client
    }

    /// Connects with a new session of this timeout.
    pub fn connect_for(address: SocketAddr, timeout_ms: i32) -> Client {
        let mut client = Self::ask(address, SessionId(0), &[0; 16], timeout_ms, false);
        client.connected();
        client
    }

    /// Asks for a new session without waiting for the answer.
    pub fn connect_later(address: SocketAddr) -> Client {
        Self::ask(address, SessionId(0), &[0; 16], 30_000, false)
    }

    /// The same of a client that can be read-only.
    pub fn connect_read_only_later(address: SocketAddr) -> Client {
        Self::ask(address, SessionId(0), &[0; 16], 30_000, true)
    }

    fn ask(
        address: SocketAddr,
        session: SessionId,
        password: &[u8],
        timeout_ms: i32,
        read_only: bool,
    ) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Client {
            stream,
            session,
            password: password.to_vec(),
            timeout_ms: 0,
            read_only: false,
            xid: 0,
        };
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms,
            session_id: session,
            password: Some(password),
            read_only: Some(read_only),
        };
        client.send_frame(&request.to_bytes());
        client
    }

    /// Waits for the answer to the handshake.
    pub fn connected(&mut self) {
        self.stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let frame = self.read_frame().expect("a connect response");
        let response = ConnectResponse::from_bytes(&frame).unwrap();
        self.session = response.session_id;
        self.password = response.password.unwrap().to_vec();
        self.timeout_ms = response.timeout_ms;
        self.read_only = response.read_only == Some(true);
    }

    /// The next frame, if it comes in time.
    pub fn try_frame(&mut self, timeout: Duration) -> Option<Vec<u8>> {
        self.stream.set_read_timeout(Some(timeout)).unwrap();
        let mut first = [0];
        match self.stream.peek(&mut first) {
            Ok(1) => {
                self.stream.set_read_timeout(Some(TIMEOUT)).unwrap();
                self.read_frame()
            }
            _ => None,
        }
    }

    pub fn send_frame(&mut self, payload: &[u8]) {
        self.stream.write_all(&framed(payload)).unwrap();
    }

    /// The next frame; `None` when the server closed the connection.
    pub fn read_frame(&mut self) -> Option<Vec<u8>> {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(len) as usize];
        self.stream.read_exact(&mut frame).ok()?;
        Some(frame)
    }

    /// A request as it goes over the wire, with the next xid.
    pub fn encode(&mut self, op: OpCode, body: &impl Encode) -> Vec<u8> {
        self.xid += 1;
        let mut payload = RequestHeader { xid: Xid(self.xid), op: op.to_i32() }.to_bytes();
        body.encode(&mut payload);
        framed(&payload)
    }

    pub fn send(&mut self, op: OpCode, body: &impl Encode) -> Xid {
        let bytes = self.encode(op, body);
        self.stream.write_all(&bytes).unwrap();
        Xid(self.xid)
    }

    pub fn reply(&mut self) -> Reply {
        let frame = self.read_frame().expect("a reply");
        let mut reader = Reader::new(&frame);
        let header = reader.read().unwrap();
        Reply { header, body: reader.rest().to_vec() }
    }

    pub fn call(&mut self, op: OpCode, body: &impl Encode) -> Reply {
        let xid = self.send(op, body);
        let reply = self.reply();
        assert_eq!(reply.header.xid, xid);
        reply
    }

    pub fn create(&mut self, path: &str, data: &[u8], flags: i32) -> Reply {
        self.call(OpCode::Create, &create(path, data, flags))
    }

    pub fn set(&mut self, path: &str, data: &[u8]) -> Reply {
        self.call(OpCode::SetData, &set(path, data))
    }

    pub fn get(&mut self, path: &str, watch: bool) -> Reply {
        self.call(OpCode::GetData, &get(path, watch))
    }

    pub fn delete(&mut self, path: &str) -> Reply {
        self.call(OpCode::Delete, &DeleteRequest { path: Some(path.into()), version: -1 })
    }

    pub fn exists(&mut self, path: &str) -> bool {
        let request = ExistsRequest { path: Some(path.into()), watch: false };
        self.call(OpCode::Exists, &request).header.err == 0
    }

    /// Closes the session.
    pub fn close(mut self) {
        self.xid += 1;
        let header = RequestHeader { xid: Xid(self.xid), op: OpCode::CloseSession.to_i32() };
        self.send_frame(&header.to_bytes());
        assert_eq!(self.reply().header.err, 0);
        assert_eq!(self.read_frame(), None);
    }
}

pub fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}

pub fn get(path: &str, watch: bool) -> GetDataRequest<'_> {
    GetDataRequest { path: Some(path.into()), watch }
}

pub fn exists(path: &str, watch: bool) -> ExistsRequest<'_> {
    ExistsRequest { path: Some(path.into()), watch }
}

pub fn set<'a>(path: &'a str, data: &'a [u8]) -> SetDataRequest<'a> {
    SetDataRequest { path: Some(path.into()), data: Some(data), version: -1 }
}

pub fn create<'a>(path: &'a str, data: &'a [u8], flags: i32) -> CreateRequest<'a> {
    let id = Id { scheme: Some("world".into()), id: Some("anyone".into()) };
    let acl = Some(vec![Acl { perms: 31, id }]);
    CreateRequest { path: Some(path.into()), data: Some(data), acl, flags }
}

/// Asks a four-letter word and reads until the server closes.
pub fn four_letter_word(address: SocketAddr, word: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(word.as_bytes()).unwrap();
    // As netcat does at the end of its input.
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
