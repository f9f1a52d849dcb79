//! A whole server over real sockets: sessions, order, events, restarts, bad input, slow readers.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use common::{
    Client, Home, address, create, exists, four_letter_word, get, homes, set, wait_until,
};
use rookeeper_jute::proto::ReconfigRequest;
use rookeeper_jute::{Encode, ErrorCode, OpCode, SessionId, Xid};
use rookeeper_server::StartError;
use rookeeper_store::StoreError;

#[test]
fn a_session_creates_reads_sets_and_deletes() {
    for home in homes("") {
        let server = home.start();
        let mut client = Client::connect(address(&server));
        assert_ne!(client.session, SessionId(0));
        assert_eq!(client.timeout_ms, 30_000);
        assert_eq!(client.create("/a", b"one", 0).header.err, 0);
        assert_eq!(client.get("/a", false).data().as_deref(), Some(&b"one"[..]));
        assert_eq!(client.set("/a", b"two").header.err, 0);
        assert_eq!(client.get("/a", false).data().as_deref(), Some(&b"two"[..]));
        let again = client.create("/a", b"", 0);
        assert_eq!(again.header.err, ErrorCode::NodeExists.to_i32());
        assert_eq!(client.delete("/a").header.err, 0);
        assert_eq!(client.get("/a", false).header.err, ErrorCode::NoNode.to_i32());
        client.close();
    }
}

#[test]
fn pipelined_reads_and_writes_are_answered_in_order_and_see_the_writes_before_them() {
    for home in homes("") {
        let server = home.start();
        let mut client = Client::connect(address(&server));
        client.create("/n", b"", 0);
        let values: Vec<String> = (0..500).map(|number| number.to_string()).collect();
        let mut bytes = Vec::new();
        for value in &values {
            bytes.extend(client.encode(OpCode::SetData, &set("/n", value.as_bytes())));
            bytes.extend(client.encode(OpCode::GetData, &get("/n", false)));
            bytes.extend(client.encode(OpCode::GetData, &get("/none", false)));
        }
        client.stream.write_all(&bytes).unwrap();
        let mut xid = 1;
        for value in &values {
            let replies = [client.reply(), client.reply(), client.reply()];
            for reply in &replies {
                xid += 1;
                assert_eq!(reply.header.xid, Xid(xid));
            }
            assert_eq!(replies[0].header.err, 0);
            assert_eq!(replies[1].data().as_deref(), Some(value.as_bytes()));
            assert_eq!(replies[2].header.err, ErrorCode::NoNode.to_i32());
            assert!(replies[0].header.zxid <= replies[1].header.zxid);
        }
    }
}

#[test]
fn an_event_comes_before_the_reply_that_shows_its_cause() {
    for home in homes("") {
        let server = home.start();
        let mut watcher = Client::connect(address(&server));
        let mut writer = Client::connect(address(&server));
        writer.create("/w", b"0", 0);
        for round in 1..=50u32 {
            watcher.get("/w", true);
            let value = round.to_string();
            writer.set("/w", value.as_bytes());
            let xid = watcher.send(OpCode::GetData, &get("/w", false));
            let first = watcher.reply();
            assert_eq!(first.event(), (3, "/w".to_owned()));
            let second = watcher.reply();
            assert_eq!(second.header.xid, xid);
            assert_eq!(second.data().as_deref(), Some(value.as_bytes()));
        }
    }
}

#[test]
fn a_restart_keeps_znodes_and_sessions_and_their_ephemerals() {
    for home in homes("") {
        let server = home.start();
        let mut client = Client::connect(address(&server));
        client.create("/kept", b"data", 0);
        client.create("/ephemeral", b"", 1);
        let mut closing = Client::connect(address(&server));
        closing.create("/gone", b"", 1);
        closing.close();
        let (session, password) = (client.session, client.password.clone());
        server.stop();
        assert_eq!(client.read_frame(), None);
        let server = home.start();
        let mut resumed = Client::resume(address(&server), session, &password);
        assert_eq!(resumed.session, session);
        assert_eq!(resumed.get("/kept", false).data().as_deref(), Some(&b"data"[..]));
        assert!(resumed.exists("/ephemeral"));
        assert!(!resumed.exists("/gone"));
        resumed.close();
        let mut other = Client::connect(address(&server));
        assert!(!other.exists("/ephemeral"));
        let wrong = Client::resume(address(&server), other.session, &[7; 16]);
        assert_eq!((wrong.session, wrong.timeout_ms), (SessionId(0), 0));
    }
}

#[test]
fn ipv4_and_ipv6_are_served_at_once() {
    let home = Home::new("");
    let server = home.start();
    let mut client = Client::connect(address(&server));
    client.create("/over4", b"", 0);
    let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), server.local_addr().port());
    if TcpStream::connect(v6).is_err() {
        assert!(server.local_addr().is_ipv4(), "a dual-stack socket takes IPv6");
        return;
    }
    assert!(Client::connect(v6).exists("/over4"));
}

#[test]
fn a_client_port_address_is_the_only_one_listened_on() {
    let home = Home::new("clientPortAddress=127.0.0.1");
    let server = home.start();
    assert_eq!(server.local_addr().ip(), IpAddr::from([127, 0, 0, 1]));
    let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), server.local_addr().port());
    assert!(TcpStream::connect(v6).is_err());
    Client::connect(address(&server)).close();
}

#[test]
fn a_data_directory_serves_one_server_at_a_time() {
    let home = Home::new("");
    let server = home.start();
    match home.try_start() {
        Err(StartError::Store(StoreError::Locked { .. })) => {}
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("two servers on one directory"),
    }
    server.stop();
    home.start();
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let home = Home::new(&format!("clientPort={port}\nclientPortAddress=127.0.0.1"));
    match home.try_start() {
        Err(error @ StartError::Listen { .. }) => {
            assert!(error.to_string().contains(&port.to_string()), "{error}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("two servers on one port"),
    }
}

/// What a connection gets that says these bytes: everything up to the close.
fn answer_to(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(common::TIMEOUT)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
    answer
}

#[test]
fn garbage_closes_its_own_connection_and_no_other() {
    for home in homes("") {
        let server = home.start();
        let mut good = Client::connect(address(&server));
        good.create("/good", b"", 0);
        let garbage: [&[u8]; 5] = [
            &[0xff; 4],
            &[0x7f, 0xff, 0xff, 0xff, 1, 2, 3],
            &[0, 0x10, 0, 1],
            &[0, 0, 0, 3, 1, 2, 3],
            b"GET / HTTP/1.1\r\n\r\n",
        ];
        for bytes in garbage {
            assert_eq!(answer_to(address(&server), bytes), b"");
        }
        let mut bad = Client::connect(address(&server));
        bad.stream.write_all(&(-1i32).to_be_bytes()).unwrap();
        assert_eq!(bad.read_frame(), None);
        let mut unknown = Client::connect(address(&server));
        unknown.send_frame(&[0, 0, 0, 1, 0, 0, 0x7f, 0xff]);
        assert_eq!(unknown.reply().header.err, ErrorCode::Unimplemented.to_i32());
        assert_eq!(unknown.read_frame(), None);
        assert!(good.exists("/good"));
    }
}

#[test]
fn a_frame_may_come_byte_by_byte_and_many_frames_in_one_write() {
    for home in homes("") {
        let server = home.start();
        let mut client = Client::connect(address(&server));
        let data = vec![b'x'; 3000];
        for byte in client.encode(OpCode::Create, &create("/slow", &data, 0)) {
            client.stream.write_all(&[byte]).unwrap();
        }
        assert_eq!(client.reply().header.err, 0);
        let mut bytes = Vec::new();
        for _ in 0..5000 {
            bytes.extend(client.encode(OpCode::GetData, &get("/slow", false)));
        }
        let mut stream = client.stream.try_clone().unwrap();
        let writer = std::thread::spawn(move || stream.write_all(&bytes).unwrap());
        for xid in 2..=5001 {
            let reply = client.reply();
            assert_eq!(reply.header.xid, Xid(xid));
            assert_eq!(reply.data().unwrap().len(), data.len());
        }
        writer.join().unwrap();
    }
}

#[test]
fn a_client_that_does_not_read_stops_being_read_and_others_go_on() {
    for home in homes("") {
        let server = home.start();
        let mut client = Client::connect(address(&server));
        client.create("/big", &vec![b'b'; 500_000], 0);
        let request = client.encode(OpCode::GetData, &get("/big", false));
        client.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut sent = 0;
        // 64 MiB of requests would ask for a terabyte: the socket has to fill long before.
        while sent < 64 << 20 && client.stream.write_all(&request).is_ok() {
            sent += request.len();
        }
        assert!(sent < 64 << 20, "the server reads on although nobody takes its answers");
        let mut other = Client::connect(address(&server));
        assert!(other.exists("/big"));
    }
}

#[test]
fn many_connections_are_served_and_their_places_given_back() {
    for home in homes("") {
        let server = home.start();
        let mut clients: Vec<Client> =
            (0..300).map(|_| Client::connect(address(&server))).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.create(&format!("/c{number}"), b"", 1).header.err, 0);
        }
        for client in &mut clients {
            assert!(client.exists("/c0") && client.exists("/c299"));
        }
        let counts = server.inspector().shards(|shard| shard.connections_len());
        assert_eq!(counts.iter().sum::<usize>(), 300);
        assert!(counts.iter().all(|count| *count > 0), "spread over all threads: {counts:?}");
        drop(clients);
        wait_until("all connections are gone", || {
            server.inspector().shards(|shard| shard.connections_len()).iter().sum::<usize>() == 0
        });
    }
}

#[test]
fn connections_from_one_address_are_limited() {
    let home = Home::new("maxClientCnxns=2");
    let server = home.start();
    let _first = Client::connect(address(&server));
    let second = Client::connect(address(&server));
    assert_eq!(answer_to(address(&server), b""), b"");
    drop(second);
    wait_until("the place is free again", || {
        let mut stream = TcpStream::connect(address(&server)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let refused = stream.read(&mut [0]).is_ok();
        !refused
    });
}

#[test]
fn a_connection_without_a_session_is_closed_in_time() {
    let home = Home::new("nio.sessionlessCnxnTimeout=300");
    let server = home.start();
    assert_eq!(answer_to(address(&server), &[0, 0]), b"");
}

#[test]
fn four_letter_words_are_answered_and_the_connection_closed() {
    for home in homes("4lw.commands.whitelist=ruok") {
        let server = home.start();
        assert_eq!(four_letter_word(address(&server), "ruok"), "imok");
        assert!(four_letter_word(address(&server), "srvr").contains("Mode: standalone"));
        assert!(four_letter_word(address(&server), "mntr").contains("not in the whitelist"));
    }
}

#[test]
fn a_flood_of_words_is_answered_or_turned_away_and_costs_the_service_nothing() {
    for home in homes("") {
        let server = home.start();
        let mut client = Client::connect(address(&server));
        let streams: Vec<TcpStream> = (0..600)
            .map(|_| {
                let mut stream = TcpStream::connect(address(&server)).unwrap();
                stream.set_read_timeout(Some(common::TIMEOUT)).unwrap();
                stream.write_all(b"srvr").unwrap();
                stream
            })
            .collect();
        assert_eq!(client.create("/meanwhile", b"", 0).header.err, 0);
        let mut answered = 0;
        for mut stream in streams {
            let mut text = String::new();
            match stream.read_to_string(&mut text) {
                Ok(0) => {}
                Ok(_) => {
                    assert!(text.contains("Mode: standalone"), "{text:?}");
                    answered += 1;
                }
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
            }
        }
        assert!(answered >= 256, "as many as wait in the queue are answered: {answered}");
        assert!(client.exists("/meanwhile"));
    }
}

#[test]
fn a_server_that_stops_answers_what_it_has_taken_up() {
    for home in homes("") {
        let server = home.start();
        let mut client = Client::connect(address(&server));
        for number in 0..200 {
            client.send(OpCode::Create, &create(&format!("/s{number}"), b"", 0));
        }
        assert_eq!(client.reply().header.err, 0);
        server.stop();
        let mut acknowledged = 1;
        while let Some(frame) = client.read_frame() {
            assert_eq!(frame[12..16], [0; 4]);
            acknowledged += 1;
        }
        let server = home.start();
        let mut reader = Client::connect(address(&server));
        let there = (0..200).take_while(|number| reader.exists(&format!("/s{number}"))).count();
        assert!(there >= acknowledged, "{there} of {acknowledged} acknowledged");
    }
}

#[test]
fn what_was_acknowledged_is_there_after_the_server_is_gone_without_a_stop() {
    for home in homes("snapCount=50") {
        let server = home.start();
        let mut client = Client::connect(address(&server));
        for number in 0..400 {
            assert_eq!(client.create(&format!("/n{number}"), b"v", 0).header.err, 0);
        }
        // A copy of the directory is what a killed process leaves behind.
        let copy = Home::new("");
        copy_dir(&home.data(), &copy.data());
        let recovered = copy.start();
        let mut reader = Client::connect(address(&recovered));
        for number in 0..400 {
            assert!(reader.exists(&format!("/n{number}")), "/n{number} is lost");
        }
        assert_eq!(client.set("/n0", b"still served").header.err, 0);
    }
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            // A file may be renamed or removed while it is copied, as when a disk is imaged.
            match std::fs::copy(entry.path(), target) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
            }
        }
    }
}

#[test]
fn thousands_of_watchers_of_one_znode_are_all_told() {
    for home in homes("") {
        let server = home.start();
        let mut writer = Client::connect(address(&server));
        writer.create("/watched", b"", 0);
        let mut watchers: Vec<Client> =
            (0..400).map(|_| Client::connect(address(&server))).collect();
        for watcher in &mut watchers {
            watcher.get("/watched", true);
        }
        assert_eq!(server.inspector().shared().watch_count(), 400);
        let zxid = writer.set("/watched", b"now").header.zxid;
        for watcher in &mut watchers {
            let event = watcher.reply();
            assert_eq!(event.event(), (3, "/watched".to_owned()));
            assert_eq!(event.header.zxid, zxid);
        }
        // A ping's answer is the next thing that comes: there was one event only.
        let mut ping = Xid::PING.to_bytes();
        OpCode::Ping.to_i32().encode(&mut ping);
        watchers[0].send_frame(&ping);
        assert_eq!(watchers[0].reply().header.xid, Xid::PING);
    }
}

#[test]
fn a_path_that_several_threads_watch_is_one_path() {
    for home in homes("4lw.commands.whitelist=*") {
        let server = home.start();
        let mut watchers: Vec<_> = (0..8).map(|_| Client::connect(address(&server))).collect();
        for path in ["/a", "/b"] {
            assert_eq!(watchers[0].create(path, b"", 0).header.err, 0);
        }
        for watcher in &mut watchers {
            assert_eq!(watcher.get("/a", true).header.err, 0);
        }
        assert_eq!(watchers[3].get("/b", true).header.err, 0);
        let counts = four_letter_word(address(&server), "wchs");
        assert_eq!(counts, "8 connections watching 2 paths\nTotal watches:9\n");
        let listed = four_letter_word(address(&server), "wchp");
        let lines: Vec<_> = listed.lines().collect();
        assert_eq!(lines.len(), 2 + 9 + 1, "{listed}");
        assert_eq!((lines[0], lines[9]), ("/a", "/b"), "{listed}");
        assert!(lines[1..9].is_sorted(), "{listed}");
        let by_session = four_letter_word(address(&server), "wchc");
        assert_eq!(by_session.lines().filter(|line| line.starts_with("0x")).count(), 8);
        assert_eq!(by_session.matches("\t/a").count(), 8);
    }
}

#[test]
fn who_stands_alone_has_no_ensemble_to_change() {
    let request = ReconfigRequest {
        joining_servers: None,
        leaving_servers: Some("3".into()),
        new_members: None,
        cur_config_id: -1,
    };
    for (settings, expected) in [
        ("", ErrorCode::ReconfigDisabled),
        ("reconfigEnabled=true\nskipACL=yes", ErrorCode::Unimplemented),
    ] {
        let home = Home::new(settings);
        let server = home.start();
        let mut client = Client::connect(address(&server));
        assert_eq!(client.call(OpCode::Reconfig, &request).header.err, expected.to_i32());
        assert_eq!(client.create("/after", b"", 0).header.err, 0, "it goes on");
    }
}

#[test]
fn mntr_tells_the_bytes_read_and_written_by_the_first_name_of_a_path() {
    for home in homes("4lw.commands.whitelist=*") {
        let server = home.start();
        let mut client = Client::connect(address(&server));
        assert_eq!(client.create("/app", b"12345", 0).header.err, 0);
        assert_eq!(client.create("/app/child", b"", 0).header.err, 0);
        assert_eq!(client.set("/app", b"123").header.err, 0);
        assert_eq!(client.get("/app", false).data().unwrap(), b"123");
        assert!(client.exists("/app/child") && !client.exists("/app/none"));
        let mntr = four_letter_word(address(&server), "mntr");
        for line in [
            // "/app" and 5 bytes, "/app/child", "/app" and 3 bytes.
            "zk_cnt_app_write_per_namespace\t3",
            "zk_sum_app_write_per_namespace\t26",
            "zk_min_app_write_per_namespace\t7",
            // Each with 68 bytes for the Stat.
            "zk_cnt_app_read_per_namespace\t2",
            "zk_sum_app_read_per_namespace\t153",
            "zk_max_app_read_per_namespace\t78",
        ] {
            assert!(mntr.contains(&format!("\n{line}\n")), "{line}: {mntr}");
        }
    }
}

#[test]
fn srst_resets_reads_and_writes_of_namespaces_and_forgets_no_namespace() {
    for home in homes("4lw.commands.whitelist=*") {
        let server = home.start();
        let mut client = Client::connect(address(&server));
        assert_eq!(client.create("/app", b"12345", 0).header.err, 0);
        assert_eq!(client.create("/other", b"", 0).header.err, 0);
        assert_eq!(client.get("/app", false).data().unwrap(), b"12345");
        assert_eq!(four_letter_word(address(&server), "srst"), "Server stats reset.\n");
        let has = |lines: &[&str]| {
            let mntr = four_letter_word(address(&server), "mntr");
            for line in lines {
                assert!(mntr.contains(&format!("\n{line}\n")), "{line}: {mntr}");
            }
        };
        has(&[
            "zk_cnt_app_write_per_namespace\t0",
            "zk_min_app_write_per_namespace\t0",
            "zk_sum_other_write_per_namespace\t0",
            "zk_cnt_app_read_per_namespace\t0",
        ]);
        assert_eq!(client.set("/app", b"1").header.err, 0);
        assert_eq!(client.get("/app", false).data().unwrap(), b"1");
        has(&[
            "zk_cnt_app_write_per_namespace\t1",
            "zk_min_app_write_per_namespace\t5",
            "zk_max_app_write_per_namespace\t5",
            "zk_cnt_app_read_per_namespace\t1",
            "zk_min_app_read_per_namespace\t73",
        ]);
    }
}

/// With the start of the server as the beginning, every word's connection would expire at the same
/// moment, long past.
#[test]
fn dump_says_when_a_connection_without_an_answer_yet_will_expire() {
    for home in homes("4lw.commands.whitelist=*\nnio.sessionlessCnxnTimeout=100") {
        let server = home.start();
        let expiry = || {
            let dump = four_letter_word(address(&server), "dump");
            dump.lines().find(|line| line.contains("expire at")).map(str::to_owned)
        };
        let first = expiry().unwrap();
        wait_until("a later connection expires at another time", || expiry().unwrap() != first);
    }
}

#[test]
fn mntr_counts_what_hard_limits_of_quotas_refuse() {
    for home in homes("4lw.commands.whitelist=*\nenforceQuota=true") {
        let server = home.start();
        let mut client = Client::connect(address(&server));
        let limits = b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=2";
        for (path, data) in [
            ("/app", &b""[..]),
            ("/zookeeper/quota/app", b""),
            ("/zookeeper/quota/app/zookeeper_limits", limits),
            ("/zookeeper/quota/app/zookeeper_stats", b""),
            ("/app/child", b""),
        ] {
            assert_eq!(client.create(path, data, 0).header.err, 0, "{path}");
        }
        for name in ["/app/b", "/app/c"] {
            let err = client.create(name, b"", 0).header.err;
            assert_eq!(err, ErrorCode::QuotaExceeded.to_i32());
        }
        let mntr = four_letter_word(address(&server), "mntr");
        assert!(mntr.contains("\nzk_app_quota_exceeded_error_per_namespace\t2\n"), "{mntr}");
    }
}

#[test]
fn watches_are_listed_by_path_and_by_session_in_slices() {
    const WATCHES: usize = 5000;
    for home in homes("4lw.commands.whitelist=*") {
        let server = home.start();
        let mut clients = [(); 3].map(|()| Client::connect(address(&server)));
        for index in 0..WATCHES {
            let client = &mut clients[index % 3];
            client.call(OpCode::Exists, &exists(&format!("/none{index:04}"), true));
        }
        clients[0].call(OpCode::Exists, &exists("/none0001", true));
        let wchp = four_letter_word(address(&server), "wchp");
        assert_eq!(wchp.lines().filter(|line| line.starts_with('/')).count(), WATCHES);
        assert_eq!(wchp.lines().filter(|line| line.starts_with('\t')).count(), WATCHES + 1);
        let both = format!("\n/none0001\n\t{}\n\t{}\n", clients[0].session, clients[1].session);
        let other = format!("\n/none0001\n\t{}\n\t{}\n", clients[1].session, clients[0].session);
        assert!(wchp.contains(&both) || wchp.contains(&other));
        let wchc = four_letter_word(address(&server), "wchc");
        assert_eq!(wchc.lines().filter(|line| line.starts_with("0x")).count(), 3);
        assert_eq!(wchc.lines().filter(|line| line.starts_with('\t')).count(), WATCHES + 1);
    }
}
