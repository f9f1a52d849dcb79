//! Clients that speak to one server each.

use rookeeper_jute::proto::{
    ConnectRequest, ConnectResponse, CreateRequest, GetDataRequest, ReplyHeader, RequestHeader,
    SyncRequest,
};
use rookeeper_jute::{Acl, Decode, Encode, ErrorCode, OpCode, Reader, SessionId, Stat, Xid, Zxid};
use rookeeper_replica::{ConnectionKey, Peer};

use super::world::World;

/// A client's end of a connection.
pub struct Client {
    pub server: usize,
    pub key: ConnectionKey,
    pub received: Vec<u8>,
    pub closed: bool,
    pub session: SessionId,
    pub password: Vec<u8>,
    xid: i32,
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub header: ReplyHeader,
    pub body: Vec<u8>,
}

fn framed(record: &impl Encode) -> Vec<u8> {
    let body = record.to_bytes();
    let mut frame = (body.len() as i32).to_bytes();
    frame.extend(body);
    frame
}

impl World {
    /// A connection without a session.
    pub fn accept(&mut self, server: usize) -> usize {
        let now = self.now();
        let address = "127.0.0.1:40000".parse().expect("an address");
        let process = self.process(server);
        let key = process.shard.accept(now, Peer { address, secure: false });
        let client = self.clients.len();
        self.process(server).clients.insert(key, client);
        self.clients.push(Client {
            server,
            key,
            received: Vec::new(),
            closed: false,
            session: SessionId(0),
            password: vec![0; 16],
            xid: 0,
        });
        client
    }

    fn hello(&mut self, client: usize, session_id: SessionId, password: &[u8]) {
        self.hello_as(client, session_id, password, false);
    }

    fn hello_as(&mut self, client: usize, session_id: SessionId, password: &[u8], read_only: bool) {
        let request = framed(&ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 20_000,
            session_id,
            password: Some(password),
            read_only: Some(read_only),
        });
        self.client_says(client, &request);
    }

    /// A client with a new session.
    #[track_caller]
    pub fn connect(&mut self, server: usize) -> usize {
        self.resume(server, SessionId(0), &[0; 16])
    }

    /// A client with a session that it had at another server.
    #[track_caller]
    pub fn resume(&mut self, server: usize, session: SessionId, password: &[u8]) -> usize {
        let client = self.accept(server);
        self.hello(client, session, password);
        self.until("connected", 5000, |world| world.has_frame(client) || world.is_closed(client));
        let frame = self.frame(client).expect("a connect response");
        let response = ConnectResponse::from_bytes(&frame).expect("decodes");
        self.clients[client].session = response.session_id;
        self.clients[client].password = response.password.expect("never null").to_vec();
        client
    }

    /// A client that can be read-only asks for a session, a new one where `session` is 0; what it
    /// gets as its answer, unless it is closed without one.
    pub fn ask_read_only(
        &mut self,
        server: usize,
        session: SessionId,
        password: &[u8],
    ) -> (usize, Option<Vec<u8>>) {
        let client = self.accept(server);
        self.hello_as(client, session, password, true);
        self.until("answered", 5000, |world| world.has_frame(client) || world.is_closed(client));
        (client, self.frame(client))
    }

    /// Many clients that ask at one time, each for its session or for a new one; what they get.
    #[track_caller]
    pub fn connect_many(&mut self, asked: &[(usize, SessionId, Vec<u8>)]) -> Vec<usize> {
        let clients: Vec<usize> = asked
            .iter()
            .map(|(server, session, password)| {
                let client = self.accept(*server);
                self.hello(client, *session, password);
                client
            })
            .collect();
        let mut answered = 0;
        self.until("connected", 20_000, |world| {
            while answered < clients.len() && world.has_frame(clients[answered]) {
                answered += 1;
            }
            answered == clients.len()
        });
        for &client in &clients {
            let frame = self.frame(client).expect("a connect response");
            let response = ConnectResponse::from_bytes(&frame).expect("decodes");
            self.clients[client].session = response.session_id;
            self.clients[client].password = response.password.expect("never null").to_vec();
        }
        clients
    }

    /// A client with a new session, where there is one in time.
    pub fn try_connect(&mut self, server: usize, ms_max: u64) -> Option<usize> {
        let client = self.accept(server);
        self.hello(client, SessionId(0), &[0; 16]);
        self.pass_until(ms_max, |world| world.has_frame(client) || world.is_closed(client));
        let frame = self.frame(client)?;
        let response = ConnectResponse::from_bytes(&frame).expect("decodes");
        (response.session_id != SessionId(0)).then_some(client)
    }

    /// The reply to the last request, where there is one in time.
    pub fn try_answer(&mut self, client: usize, ms_max: u64) -> Option<Reply> {
        self.pass_until(ms_max, |world| world.has_frame(client) || world.is_closed(client));
        self.reply(client)
    }

    pub fn is_closed(&self, client: usize) -> bool {
        self.clients[client].closed
    }

    pub fn has_frame(&self, client: usize) -> bool {
        let received = &self.clients[client].received;
        let len = received.first_chunk::<4>().map(|len| u32::from_be_bytes(*len) as usize);
        len.is_some_and(|len| received.len() >= 4 + len)
    }

    pub fn frame(&mut self, client: usize) -> Option<Vec<u8>> {
        if !self.has_frame(client) {
            return None;
        }
        let received = &mut self.clients[client].received;
        let len = u32::from_be_bytes(*received.first_chunk::<4>()?) as usize;
        let frame = received[4..4 + len].to_vec();
        received.drain(..4 + len);
        Some(frame)
    }

    pub fn reply(&mut self, client: usize) -> Option<Reply> {
        let frame = self.frame(client)?;
        let header = ReplyHeader::from_bytes(&frame).expect("a reply header");
        Some(Reply { header, body: frame[16..].to_vec() })
    }

    pub fn request(&mut self, client: usize, op: OpCode, body: &impl Encode) -> i32 {
        self.clients[client].xid += 1;
        let xid = self.clients[client].xid;
        let mut bytes = RequestHeader { xid: Xid(xid), op: op.to_i32() }.to_bytes();
        body.encode(&mut bytes);
        let mut frame = (bytes.len() as i32).to_bytes();
        frame.extend(bytes);
        self.client_says(client, &frame);
        xid
    }

    /// Asks for a znode.
    pub fn ask_create(&mut self, client: usize, path: &str, flags: i32) -> i32 {
        let body = CreateRequest {
            path: Some(path.into()),
            data: Some(path.as_bytes()),
            acl: Some(vec![Acl::open_unsafe()]),
            flags,
        };
        self.request(client, OpCode::Create, &body)
    }

    /// The reply to the last request, or none where the connection is closed first.
    #[track_caller]
    pub fn answer(&mut self, client: usize, ms_max: u64) -> Option<Reply> {
        self.until("answered", ms_max, |world| world.has_frame(client) || world.is_closed(client));
        self.reply(client)
    }

    /// Creates a znode; whether it was acknowledged.
    #[track_caller]
    pub fn create(&mut self, client: usize, path: &str) -> bool {
        let xid = self.ask_create(client, path, 0);
        match self.answer(client, 20_000) {
            Some(reply) => {
                assert_eq!((reply.header.xid.0, reply.header.err), (xid, 0), "{path}");
                true
            }
            None => false,
        }
    }

    /// Creates a znode that may be there from the last attempt; whether it is there now.
    pub fn create_or_find(&mut self, client: usize, path: &str) -> bool {
        self.ask_create(client, path, 0);
        let exists = ErrorCode::NodeExists.to_i32();
        let reply = self.try_answer(client, 1000);
        reply.is_some_and(|reply| reply.header.err == 0 || reply.header.err == exists)
    }

    /// The data of a znode, as a client reads it.
    #[track_caller]
    pub fn get(&mut self, client: usize, path: &str) -> Option<Vec<u8>> {
        let body = GetDataRequest { path: Some(path.into()), watch: false };
        self.request(client, OpCode::GetData, &body);
        let reply = self.answer(client, 5000).expect("an answer");
        if reply.header.err != 0 {
            return None;
        }
        let mut reader = Reader::new(&reply.body);
        let data: Option<&[u8]> = reader.read().expect("data");
        reader.read::<Stat>().expect("a stat");
        data.map(<[u8]>::to_vec)
    }

    #[track_caller]
    pub fn sync(&mut self, client: usize) -> bool {
        self.request(client, OpCode::Sync, &SyncRequest { path: Some("/".into()) });
        self.answer(client, 20_000).is_some_and(|reply| reply.header.err == 0)
    }
}
