//! Reads: answers, errors, watches, access.

mod common;

use common::{SESSION, Server, closed_to_us, create, set_acl};
use rookeeper_jute::data::perms;
use rookeeper_jute::multi::{MultiHeader, encode_end, next_part};
use rookeeper_jute::proto::{
    ErrorResponse, ExistsRequest, ExistsResponse, GetAclRequest, GetAclResponse,
    GetAllChildrenNumberRequest, GetAllChildrenNumberResponse, GetChildren2Request,
    GetChildren2Response, GetChildrenPaginatedRequest, GetChildrenPaginatedResponse,
    GetChildrenRequest, GetChildrenResponse, GetDataRequest, GetDataResponse, GetEphemeralsRequest,
    GetEphemeralsResponse, SyncRequest, SyncResponse, WhoAmIResponse,
};
use rookeeper_jute::{
    Acl, CreateMode, Decode, Encode, ErrorCode, Id, OpCode, Reader, SessionId, Zxid,
};
use rookeeper_tree::{Identity, WatchKind};

use ErrorCode::*;

/// The result, the watch as (path, kind), and the body.
fn read(server: &Server, op: OpCode, request: &impl Encode) -> Read {
    let body = request.to_bytes();
    let mut out = b"before".to_vec();
    let answer = server.read(op, &body, &mut out);
    assert_eq!(&out[..6], b"before");
    let body = out.split_off(6);
    if answer.err != Ok {
        assert!(body.is_empty(), "an error has no body");
    }
    let watch = answer.watch.map(|watch| (watch.path.into_owned(), watch.kind));
    Read { err: answer.err, watch, body }
}

struct Read {
    err: ErrorCode,
    watch: Option<(String, WatchKind)>,
    body: Vec<u8>,
}

fn watch(path: &str, kind: WatchKind) -> Option<(String, WatchKind)> {
    Some((path.to_owned(), kind))
}

fn exists(path: &str, watch: bool) -> ExistsRequest<'_> {
    ExistsRequest { path: Some(path.into()), watch }
}

fn get(path: &str, watch: bool) -> GetDataRequest<'_> {
    GetDataRequest { path: Some(path.into()), watch }
}

fn children(path: &str, watch: bool) -> GetChildrenRequest<'_> {
    GetChildrenRequest { path: Some(path.into()), watch }
}

fn server() -> Server {
    let mut server = Server::new();
    server.create_with("/a", b"data", CreateMode::Persistent);
    server.create("/a/b");
    server.create("/a/c");
    server.create("/closed");
    server.err(OpCode::SetAcl, &set_acl("/closed", closed_to_us(), -1));
    server
}

#[test]
fn data_and_stat_come_with_a_data_watch() {
    let server = server();
    let got = read(&server, OpCode::GetData, &get("/a", true));
    assert_eq!((got.err, got.watch), (Ok, watch("/a", WatchKind::Data)));
    let response = GetDataResponse::from_bytes(&got.body).expect("data and stat");
    assert_eq!(response.data, Some(&b"data"[..]));
    assert_eq!(response.stat, server.tree.node("/a").expect("there").stat());
    assert_eq!((response.stat.cversion, response.stat.num_children), (2, 2));
    let got = read(&server, OpCode::GetData, &get("/a", false));
    assert_eq!((got.err, got.watch), (Ok, None));
    let got = read(&server, OpCode::Exists, &exists("/a", true));
    assert_eq!((got.err, got.watch), (Ok, watch("/a", WatchKind::Data)));
    assert_eq!(ExistsResponse::from_bytes(&got.body).expect("stat").stat, response.stat);
}

#[test]
fn only_exists_leaves_a_watch_on_what_is_missing() {
    let server = server();
    let got = read(&server, OpCode::Exists, &exists("/no", true));
    assert_eq!((got.err, got.watch), (NoNode, watch("/no", WatchKind::Data)));
    assert_eq!(read(&server, OpCode::Exists, &exists("/no", false)).watch, None);
    let got = read(&server, OpCode::GetData, &get("/no", true));
    assert_eq!((got.err, got.watch), (NoNode, None));
    let got = read(&server, OpCode::GetChildren, &children("/no", true));
    assert_eq!((got.err, got.watch), (NoNode, None));
}

#[test]
fn what_may_not_be_read_leaves_nothing() {
    let server = server();
    for (op, request) in [
        (OpCode::Exists, exists("/closed", true).to_bytes()),
        (OpCode::GetData, get("/closed", true).to_bytes()),
        (OpCode::GetChildren, children("/closed", true).to_bytes()),
        (OpCode::GetChildren2, children("/closed", true).to_bytes()),
        (OpCode::GetAllChildrenNumber, "/closed".to_bytes()),
        (OpCode::GetAcl, "/closed".to_bytes()),
    ] {
        let mut out = Vec::new();
        let answer = server.read(op, &request, &mut out);
        assert_eq!((answer.err, answer.watch, out.len()), (NoAuth, None, 0), "{op:?}");
    }
}

#[test]
fn paths_are_looked_up_as_they_are() {
    let server = server();
    for path in ["a", "/a/", "//a", "/a//b", "/./a", "a/b", "/no/"] {
        assert_eq!(read(&server, OpCode::GetData, &get(path, false)).err, NoNode, "{path:?}");
    }
    for path in ["", "/"] {
        assert_eq!(read(&server, OpCode::GetData, &get(path, false)).err, Ok, "{path:?}");
    }
    assert_eq!(read(&server, OpCode::Exists, &exists("/a\0", true)).err, BadArguments);
    assert_eq!(read(&server, OpCode::GetData, &get("/a\0", true)).err, NoNode);
}

#[test]
fn children_come_in_the_order_of_their_creation() {
    let server = server();
    let got = read(&server, OpCode::GetChildren, &children("/a", true));
    assert_eq!((got.err, got.watch), (Ok, watch("/a", WatchKind::Child)));
    let names = vec![Some("b".into()), Some("c".into())];
    let want = GetChildrenResponse { children: Some(names.clone()) };
    assert_eq!(GetChildrenResponse::from_bytes(&got.body), Result::Ok(want));
    let request = GetChildren2Request { path: Some("/a".into()), watch: true };
    let got = read(&server, OpCode::GetChildren2, &request);
    assert_eq!((got.err, got.watch), (Ok, watch("/a", WatchKind::Child)));
    let stat = server.tree.node("/a").expect("there").stat();
    let want = GetChildren2Response { children: Some(names), stat };
    assert_eq!(GetChildren2Response::from_bytes(&got.body), Result::Ok(want));
}

#[test]
fn every_page_goes_on_where_the_last_one_stopped() {
    let mut server = Server::new();
    server.create("/p");
    for i in 0..3 {
        server.create(&format!("/p/single{i}"));
    }
    let mut body = Vec::new();
    for i in 0..5 {
        MultiHeader::request(OpCode::Create.to_i32()).encode(&mut body);
        create(&format!("/p/multi{i}"), b"", CreateMode::Persistent).encode(&mut body);
    }
    encode_end(&mut body);
    assert_eq!(server.write_bytes(OpCode::Multi, &body).0, Ok);
    server.create("/p/last");
    let whole: Vec<_> = server.tree.node("/p").expect("there").children().collect();
    let whole: Vec<_> = whole.iter().map(|node| node.name().to_owned()).collect();
    for max_returned in [1, 2, 3, 4, 8, 9, i32::MAX] {
        let mut names = Vec::new();
        let (mut min_czxid, mut czxid_offset) = (Zxid(-1), 0);
        loop {
            let path = Some("/p".into());
            let request = GetChildrenPaginatedRequest {
                path,
                max_returned,
                min_czxid,
                czxid_offset,
                watch: true,
            };
            let got = read(&server, OpCode::GetChildrenPaginated, &request);
            let page = GetChildrenPaginatedResponse::from_bytes(&got.body).expect("a page");
            let children = page.children.expect("not null");
            assert!(children.len() <= max_returned as usize && !children.is_empty());
            names.extend(children.into_iter().flatten().map(|name| name.into_owned()));
            assert_eq!(page.stat, server.tree.node("/p").expect("there").stat());
            (min_czxid, czxid_offset) = (page.next_page_czxid, page.next_page_czxid_offset);
            if min_czxid == Zxid(-1) {
                assert_eq!((czxid_offset, got.watch), (-1, watch("/p", WatchKind::Child)));
                break;
            }
            assert_eq!(got.watch, None, "only the last page leaves its watch");
        }
        assert_eq!(names, whole, "by {max_returned}");
    }
    let request = GetChildrenPaginatedRequest {
        path: Some("/p".into()),
        max_returned: 0,
        min_czxid: Zxid(0),
        czxid_offset: 0,
        watch: true,
    };
    assert_eq!(read(&server, OpCode::GetChildrenPaginated, &request).err, BadArguments);
}

#[test]
fn pages_stay_below_what_clients_take() {
    let mut server = Server::new();
    let name = "n".repeat(100_000);
    for i in 0..12 {
        server.create(&format!("/{name}{i}"));
    }
    let request = GetChildrenPaginatedRequest {
        path: Some("/".into()),
        max_returned: i32::MAX,
        min_czxid: Zxid(0),
        czxid_offset: 0,
        watch: false,
    };
    let got = read(&server, OpCode::GetChildrenPaginated, &request);
    assert!(got.body.len() < 0xf_ffff && got.body.len() > 900_000);
    let page = GetChildrenPaginatedResponse::from_bytes(&got.body).expect("a page");
    assert_ne!(page.next_page_czxid, Zxid(-1));
}

#[test]
fn descendants_are_counted_without_the_znode_itself() {
    let server = server();
    let count = |path: &str| {
        let request = GetAllChildrenNumberRequest { path: Some(path.into()) };
        let got = read(&server, OpCode::GetAllChildrenNumber, &request);
        GetAllChildrenNumberResponse::from_bytes(&got.body).expect("a number").total_number
    };
    assert_eq!(count("/"), server.tree.znode_count() as i32 - 2);
    assert_eq!(count(""), server.tree.znode_count() as i32 - 1);
    assert_eq!((count("/a"), count("/a/b")), (2, 0));
}

#[test]
fn ephemerals_are_the_callers_own_below_a_plain_prefix() {
    let mut server = Server::new();
    for path in ["/e1", "/e2", "/x"] {
        server.create_with(path, b"", CreateMode::Ephemeral);
    }
    server.session = SessionId(99);
    server.create_with("/e3", b"", CreateMode::Ephemeral);
    server.session = SESSION;
    let list = |prefix: Option<&str>| {
        let request = GetEphemeralsRequest { prefix_path: prefix.map(Into::into) };
        let got = read(&server, OpCode::GetEphemerals, &request);
        let list = GetEphemeralsResponse::from_bytes(&got.body).expect("a list").ephemerals;
        let list = list.expect("not null").into_iter().flatten();
        let mut list: Vec<_> = list.map(|path| path.into_owned()).collect();
        list.sort();
        list
    };
    for all in [None, Some(""), Some("  "), Some("/"), Some(" / ")] {
        assert_eq!(list(all), ["/e1", "/e2", "/x"], "{all:?}");
    }
    assert_eq!(list(Some("/e")), ["/e1", "/e2"]);
    assert_eq!(list(Some("/e1")), ["/e1"]);
    assert!(list(Some(" /e")).is_empty() && list(Some("/e3")).is_empty());
}

#[test]
fn hashes_are_masked_from_those_who_may_not_administer() {
    let mut server = Server::new();
    server.create("/a");
    let acl = vec![
        Acl { perms: perms::READ, id: Id::new("world", "anyone") },
        Acl { perms: perms::ALL, id: Id::new("digest", "bob:hash=") },
    ];
    server.err(OpCode::SetAcl, &set_acl("/a", acl.clone(), -1));
    let request = GetAclRequest { path: Some("/a".into()) };
    let entries = |server: &Server| {
        let got = read(server, OpCode::GetAcl, &request);
        assert_eq!((got.err, &got.watch), (Ok, &None));
        let response = GetAclResponse::from_bytes(&got.body).expect("a list and a stat");
        assert_eq!(response.stat.aversion, 1);
        format!("{:?}", response.acl.expect("not null"))
    };
    let masked = format!("{acl:?}").replace("bob:hash=", "bob:x");
    assert_eq!(entries(&server), masked);
    server.identities.push(Identity::new("digest", "bob:hash="));
    assert_eq!(entries(&server), format!("{acl:?}"));
    let root = GetAclRequest { path: Some("/".into()) };
    let got = read(&server, OpCode::GetAcl, &root);
    let response = GetAclResponse::from_bytes(&got.body).expect("a list and a stat");
    assert_eq!(response.acl, common::open());
}

#[test]
fn who_am_i_names_every_identity() {
    let mut server = Server::new();
    server.identities.push(Identity::new("digest", "bob:hash="));
    server.identities.push(Identity::new("super", ""));
    server.identities.push(Identity::new("unheard", "of"));
    let got = read(&server, OpCode::WhoAmI, &Vec::<i32>::new());
    let response = WhoAmIResponse::from_bytes(&got.body).expect("a list").client_info;
    let infos = response.expect("not null").into_iter();
    let infos: Vec<_> = infos.map(|i| (i.auth_scheme.unwrap(), i.user.unwrap())).collect();
    let want = [("ip", "127.0.0.1"), ("digest", "bob"), ("super", ""), ("unheard", "")];
    assert_eq!(infos, want.map(|(scheme, user)| (scheme.into(), user.into())));
}

#[test]
fn sync_echoes_its_path_unseen() {
    let server = Server::new();
    for path in [None, Some("no path at all".into())] {
        let got = read(&server, OpCode::Sync, &SyncRequest { path: path.clone() });
        assert_eq!((got.err, got.watch), (Ok, None));
        assert_eq!(SyncResponse::from_bytes(&got.body), Result::Ok(SyncResponse { path }));
    }
}

fn multi_read(parts: &[(OpCode, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (op, record) in parts {
        MultiHeader::request(op.to_i32()).encode(&mut body);
        body.extend_from_slice(record);
    }
    encode_end(&mut body);
    body
}

#[test]
fn parts_of_a_multi_read_have_results_of_their_own_and_no_watches() {
    let server = server();
    let body = multi_read(&[
        (OpCode::GetData, get("/a", true).to_bytes()),
        (OpCode::GetData, get("/no", true).to_bytes()),
        (OpCode::GetChildren, children("/a", true).to_bytes()),
        (OpCode::GetChildren, children("/closed", true).to_bytes()),
    ]);
    let mut out = Vec::new();
    let answer = server.read(OpCode::MultiRead, &body, &mut out);
    assert_eq!((answer.err, answer.watch), (Ok, None));
    let mut reader = Reader::new(&out);
    let next = |reader: &mut Reader<'_>| {
        let header = next_part(reader).expect("a header").expect("one more");
        (header.op, header.err)
    };
    assert_eq!(next(&mut reader), (OpCode::GetData.to_i32(), 0));
    assert_eq!(reader.read::<GetDataResponse<'_>>().expect("data").data, Some(&b"data"[..]));
    assert_eq!(next(&mut reader), (-1, NoNode.to_i32()));
    assert_eq!(reader.read::<ErrorResponse>().expect("error").err, NoNode.to_i32());
    assert_eq!(next(&mut reader), (OpCode::GetChildren.to_i32(), 0));
    assert_eq!(
        reader.read::<GetChildrenResponse<'_>>().expect("names").children.map_or(0, |c| c.len()),
        2
    );
    assert_eq!(next(&mut reader), (-1, NoAuth.to_i32()));
    assert_eq!(reader.read::<ErrorResponse>().expect("error").err, NoAuth.to_i32());
    assert_eq!(next_part(&mut reader), Result::Ok(None));
}

#[test]
fn what_is_no_read_spoils_a_multi_read() {
    let server = server();
    for part in [
        (OpCode::Exists, exists("/a", false).to_bytes()),
        (OpCode::Delete, common::delete("/a", -1).to_bytes()),
        (OpCode::GetData, vec![0xff; 5]),
    ] {
        let body = multi_read(&[(OpCode::GetData, get("/a", false).to_bytes()), part]);
        let mut out = Vec::new();
        let answer = server.read(OpCode::MultiRead, &body, &mut out);
        assert_eq!((answer.err, out.len()), (MarshallingError, 0));
    }
}

#[test]
fn bodies_that_cannot_be_decoded_and_null_paths_are_marshalling_errors() {
    let server = server();
    let null = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for op in [
        OpCode::Exists,
        OpCode::GetData,
        OpCode::GetAcl,
        OpCode::GetChildren,
        OpCode::GetChildren2,
        OpCode::GetChildrenPaginated,
        OpCode::GetAllChildrenNumber,
    ] {
        for body in [&null[..], &null[1..4], &[0, 0, 0, 9, b'/'][..], b""] {
            let mut out = Vec::new();
            let answer = server.read(op, body, &mut out);
            assert_eq!((answer.err, out.len()), (MarshallingError, 0), "{op:?} {body:?}");
        }
    }
    let mut out = Vec::new();
    assert_eq!(server.read(OpCode::Create, &null, &mut out).err, Unimplemented);
}
