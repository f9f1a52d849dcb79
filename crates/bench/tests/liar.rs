//! A server that lies is caught: the benchmark's figures are worth what its checks are worth.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use rookeeper_bench::BenchError;
use rookeeper_bench::check;
use rookeeper_bench::pipeline::{self, Step, Width};
use rookeeper_jute::proto::{
    ConnectResponse, GetDataRequest, GetDataResponse, ReplyHeader, RequestHeader,
};
use rookeeper_jute::{Decode, Encode, OpCode, SessionId, Stat, Xid, Zxid};

/// Header and record of the answer to a request of this number, the first of which is 1.
type Answer = fn(i32) -> (ReplyHeader, Vec<u8>);

fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(prefix) as usize];
    stream.read_exact(&mut frame).ok()?;
    Some(frame)
}

fn write_frame(stream: &mut TcpStream, payload: &[u8]) {
    let len = u32::try_from(payload.len()).expect("answers are small");
    let _ = stream.write_all(&[&len.to_be_bytes(), payload].concat());
}

/// Serves one connection: opens a session, then answers by `answer`, but for closeSession.
fn serve(answer: Answer) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the benchmark connects");
        read_frame(&mut stream).expect("a handshake");
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms: 10_000,
            session_id: SessionId(7),
            password: Some(&[1; 16]),
            read_only: Some(false),
        };
        write_frame(&mut stream, &response.to_bytes());
        while let Some(frame) = read_frame(&mut stream) {
            let request = RequestHeader::from_bytes(&frame).expect("a request");
            if request.op == OpCode::CloseSession.to_i32() {
                let header = ReplyHeader { xid: request.xid, zxid: Zxid(9), err: 0 };
                write_frame(&mut stream, &header.to_bytes());
                return;
            }
            let (header, body) = answer(request.xid.0);
            write_frame(&mut stream, &[header.to_bytes(), body].concat());
        }
    });
    (address, thread)
}

fn stat() -> Stat {
    let (czxid, mzxid, pzxid) = (Zxid(1), Zxid(2), Zxid(1));
    Stat { czxid, mzxid, pzxid, version: 1, data_length: 20, ..Stat::default() }
}

fn data(change: impl FnOnce(&mut Vec<u8>, &mut Stat)) -> Vec<u8> {
    let (mut data, mut stat) = (Vec::new(), stat());
    rookeeper_bench::value::make(5, 3, 20, &mut data);
    change(&mut data, &mut stat);
    GetDataResponse { data: Some(&data), stat }.to_bytes()
}

fn header(xid: i32, zxid: i64, err: i32) -> ReplyHeader {
    ReplyHeader { xid: Xid(xid), zxid: Zxid(zxid), err }
}

/// Asks twice for znode 5, whose value has 20 bytes.
fn ask(answer: Answer) -> Result<(), BenchError> {
    let (address, thread) = serve(answer);
    let get = GetDataRequest { path: Some("/k5".into()), watch: false };
    let step = || Step { op: OpCode::GetData, tag: 0, body: get.to_bytes() };
    let width = Width { connections: 1, depth: 2 };
    let result = pipeline::run(address, width, &mut [step(), step()].into_iter(), &mut |reply| {
        check::get(reply, 5, 20)
    });
    thread.join().expect("the server does not panic");
    result
}

#[test]
fn the_truth_passes() {
    ask(|xid| (header(xid, 2, 0), data(|_, _| {}))).unwrap();
}

#[test]
fn every_lie_is_caught() {
    let lies: [(&str, Answer); 8] = [
        ("another request's number", |xid| (header(xid + 1, 2, 0), data(|_, _| {}))),
        ("a zxid that falls", |xid| (header(xid, 9 - i64::from(xid), 0), data(|_, _| {}))),
        ("an error", |xid| (header(xid, 2, -101), Vec::new())),
        ("a torn value", |xid| (header(xid, 2, 0), data(|data, _| data[19] ^= 1))),
        ("another znode's value", |xid| (header(xid, 2, 0), data(|data, _| data[7] = 6))),
        ("a wrong length", |xid| (header(xid, 2, 0), data(|_, stat| stat.data_length = 3))),
        ("a change of the future", |xid| (header(xid, 1, 0), data(|_, _| {}))),
        ("half a record", |xid| (header(xid, 2, 0), data(|_, _| {})[..30].to_vec())),
    ];
    for (lie, answer) in lies {
        let caught = ask(answer);
        assert!(matches!(caught, Err(BenchError::WrongReply(_))), "{lie}: {caught:?}");
    }
}
