//! A whole server on a simulated disk that fails, is full, or loses power.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Client, Home, TIMEOUT, address, create, homes, wait_until};
use rookeeper_jute::OpCode;
use rookeeper_server::{ExitCode, ServerHandle};
use rookeeper_store::SimulatedDisk;
use rookeeper_store::disk::{Chooser, Fault, FaultKind};

/// Creates up to `max` znodes, until the server gives up; returns how many it acknowledged.
fn create_all(server: &ServerHandle, max: usize) -> usize {
    let mut client = Client::connect(address(server));
    let stream = client.stream.try_clone().unwrap();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A server that gave up leaves its connections to the end of the process.
            while !ended.load(Ordering::Relaxed) && server.ending().is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = stream.shutdown(std::net::Shutdown::Both);
        });
        let mut acknowledged = 0;
        while acknowledged < max {
            let path = format!("/n{acknowledged}");
            let request = client.encode(OpCode::Create, &create(&path, b"value", 0));
            if client.stream.write_all(&request).is_err() {
                break;
            }
            let Some(frame) = client.read_frame() else { break };
            assert_eq!(frame[12..16], [0; 4], "an error instead of silence");
            acknowledged += 1;
        }
        ended.store(true, Ordering::Relaxed);
        acknowledged
    })
}

fn assert_has(home: &Home, disk: &SimulatedDisk, acknowledged: usize) {
    let server = home.start_on(disk);
    let mut client = Client::connect(address(&server));
    for number in 0..acknowledged {
        assert!(client.exists(&format!("/n{number}")), "/n{number} of {acknowledged} is lost");
    }
}

#[test]
fn a_failed_sync_ends_the_server_and_loses_nothing_acknowledged() {
    for home in homes("snapCount=100000") {
        for kind in [FaultKind::Sync, FaultKind::Write] {
            let disk = SimulatedDisk::new();
            let server = home.start_on(&disk);
            let error = std::io::ErrorKind::Other;
            let path_contains = "version-2/log.".to_owned();
            disk.plan_fault(Fault { kind, path_contains, after: 30, error });
            let acknowledged = create_all(&server, 100);
            assert!((1..100).contains(&acknowledged), "{kind:?}: {acknowledged}");
            assert_eq!(server.wait(), ExitCode::UnexpectedError);
            assert_eq!(server.stop(), ExitCode::UnexpectedError);
            for chooser in [Chooser::Nothing, Chooser::Everything, Chooser::Random(7)] {
                let after = disk.after_power_loss(&mut { chooser });
                assert_has(&home, &after, acknowledged);
            }
        }
    }
}

/// As Java (`ZooKeeperServer.takeSnapshot`): exit code 10.
#[test]
fn a_failed_snapshot_ends_the_server_and_loses_nothing_acknowledged() {
    for home in homes("snapCount=20") {
        for kind in [FaultKind::Sync, FaultKind::Write, FaultKind::Rename] {
            let disk = SimulatedDisk::new();
            let server = home.start_on(&disk);
            let error = std::io::ErrorKind::Other;
            let path_contains = "version-2/next-snapshot.".to_owned();
            disk.plan_fault(Fault { kind, path_contains, after: 0, error });
            let acknowledged = create_all(&server, 100_000);
            assert_eq!(server.wait(), ExitCode::SnapshotFailed);
            assert_eq!(server.stop(), ExitCode::SnapshotFailed);
            let after = disk.after_power_loss(&mut Chooser::Nothing);
            assert_has(&home, &after, acknowledged);
        }
    }
}

#[test]
fn a_snapshot_that_finds_the_disk_full_is_tried_again_when_it_is_due() {
    for home in homes("snapCount=20") {
        let disk = SimulatedDisk::new();
        let server = home.start_on(&disk);
        let before = snapshots(&disk);
        let error = std::io::ErrorKind::StorageFull;
        let path_contains = "version-2/next-snapshot.".to_owned();
        disk.plan_fault(Fault { kind: FaultKind::Write, path_contains, after: 0, error });
        assert_eq!(create_all(&server, 100), 100);
        wait_until("a later snapshot is written", || snapshots(&disk) > before);
        assert_eq!(server.stop(), ExitCode::Finished);
    }
}

#[test]
fn what_was_acknowledged_survives_a_loss_of_power() {
    for home in homes("snapCount=20") {
        let disk = SimulatedDisk::new();
        let server = home.start_on(&disk);
        assert_eq!(create_all(&server, 150), 150);
        for seed in 0..5 {
            let after = disk.after_power_loss(&mut Chooser::Random(seed));
            assert_has(&home, &after, 150);
        }
    }
}

#[test]
fn a_full_disk_acknowledges_nothing_until_there_is_room() {
    for home in homes("") {
        let disk = SimulatedDisk::new();
        disk.set_capacity(Some(256 << 20));
        let server = home.start_on(&disk);
        let mut writer = Client::connect(address(&server));
        writer.create("/before", b"", 0);
        disk.set_capacity(Some(1 << 20));
        // What may be written without another look at the free space is at most 1 MiB.
        let data = vec![b'x'; 900_000];
        let mut acknowledged = 0;
        let waiting = loop {
            let path = format!("/big{acknowledged}");
            let xid = writer.send(OpCode::Create, &create(&path, &data, 0));
            match writer.try_frame(Duration::from_millis(700)) {
                Some(_) => acknowledged += 1,
                None => break xid,
            }
            assert!(acknowledged < 4, "the disk is full");
        };
        let mut reader = Client::connect_later(address(&server));
        assert!(reader.try_frame(Duration::from_millis(300)).is_none());
        disk.set_capacity(None);
        writer.stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let reply = writer.reply();
        assert_eq!((reply.header.xid, reply.header.err), (waiting, 0));
        reader.connected();
        assert!(reader.exists("/before") && reader.exists(&format!("/big{acknowledged}")));
    }
}

#[test]
fn old_snapshots_and_logs_are_purged() {
    let home = Home::new("snapCount=10\nautopurge.purgeInterval=1\nautopurge.snapRetainCount=3");
    let disk = SimulatedDisk::new();
    let server = home.start_on(&disk);
    for round in 0..12 {
        let mut client = Client::connect(address(&server));
        for number in 0..12 {
            client.create(&format!("/r{round}-{number}"), b"", 0);
        }
    }
    wait_until("several snapshots are written", || snapshots(&disk) > 4);
    server.stop();
    // The first purge comes with the start.
    let server = home.start_on(&disk.after_kill());
    server.stop();
    let disk = disk.after_kill();
    let server = home.start_on(&disk);
    wait_until("the old ones are gone", || snapshots(&disk) <= 4);
    assert!(Client::connect(address(&server)).exists("/r11-11"));
}

fn snapshots(disk: &SimulatedDisk) -> usize {
    let names = disk.dump().into_keys();
    names.filter(|path| path.to_string_lossy().contains("version-2/snapshot.")).count()
}
