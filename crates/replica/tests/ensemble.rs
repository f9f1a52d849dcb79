//! Clients of an ensemble, at its leader and at its learners: writes, reads, watches, syncs and
//! sessions across servers, and the end of a role.

mod support;

use rookeeper_jute::proto::SyncRequest;
use rookeeper_jute::txn::{CreateSessionTxn, TxnDigest, TxnHeader};
use rookeeper_jute::{Encode, OpCode, SessionId, Xid, Zxid};
use rookeeper_replica::{CloseReason, CoreConfig, CoreEffect, CoreInput, CoreRole};
use rookeeper_tree::{Tree, TreeConfig};
use rookeeper_zab::SegmentBuilder;
use support::ensemble::{EPOCH, Ensemble, LEADER};
use support::{Nothing, Setup, World, connect_frame, request_frame};

const MARSHALLING_ERROR: i32 = -5;
const NO_NODE: i32 = -101;

fn sync(world: &mut World, client: usize, xid: i32) {
    let body = SyncRequest { path: Some("/".into()) };
    world.request(client, xid, OpCode::Sync, &body);
}

#[test]
fn the_first_transaction_of_an_epoch_follows_its_start() {
    let mut ensemble = Ensemble::new(1);
    let start = Zxid(EPOCH << 32);
    for server in &ensemble.servers {
        assert_eq!(server.shared.tree.last_processed_zxid(), start);
        assert_eq!(server.core.last_logged(), Zxid::ZERO);
    }
    ensemble.connect(LEADER, 10_000);
    assert_eq!(ensemble.servers[LEADER].log[0].0, start.next());
    ensemble.check_equal();
}

#[test]
fn a_write_through_a_learner_is_answered_there_and_done_everywhere() {
    let mut ensemble = Ensemble::new(2);
    let (client, session) = ensemble.connect(1, 10_000);
    assert_eq!(session.id.0 as u64 >> 56, 2, "the id carries the server that the client came to");
    ensemble.servers[1].create(client, 1, "/a", 0);
    ensemble.run();
    let reply = ensemble.servers[1].reply(client).expect("a reply");
    assert_eq!((reply.xid(), reply.header.err), (1, 0));
    assert_eq!(reply.header.zxid, Zxid((EPOCH << 32) | 2));
    ensemble.check_equal();
    assert!(ensemble.servers[2].shared.tree.node("/a").is_some());
}

/// What a client of the pipelined mixture asked for.
enum Asked {
    Set(Vec<u8>),
    Get(Vec<u8>),
    Other,
}

#[test]
fn pipelined_mixtures_are_answered_in_order_and_reads_see_own_writes() {
    for seed in 0..40 {
        let mut ensemble = Ensemble::new(seed);
        let clients: Vec<(usize, usize)> = (0..6)
            .map(|index| {
                let server = index % 3;
                (server, ensemble.connect(server, 30_000).0)
            })
            .collect();
        let mut asked: Vec<Vec<Asked>> = Vec::new();
        for (index, (server, client)) in clients.iter().copied().enumerate() {
            let path = format!("/n{index}");
            let world = &mut ensemble.servers[server];
            world.create(client, 1, &path, 0);
            let mut mine = vec![Asked::Other];
            let mut last = b"x".to_vec();
            for xid in 2..30 {
                match ensemble.dice.below(4) {
                    0 => {
                        last = format!("{index}:{xid}").into_bytes();
                        ensemble.servers[server].set(client, xid, &path, &last);
                        mine.push(Asked::Set(last.clone()));
                    }
                    1 | 2 => {
                        ensemble.servers[server].get(client, xid, &path, false);
                        mine.push(Asked::Get(last.clone()));
                    }
                    _ => {
                        sync(&mut ensemble.servers[server], client, xid);
                        mine.push(Asked::Other);
                    }
                }
            }
            asked.push(mine);
            ensemble.run_for(20);
        }
        ensemble.run();
        for (index, (server, client)) in clients.iter().copied().enumerate() {
            let replies = ensemble.servers[server].replies(client);
            assert_eq!(replies.len(), asked[index].len(), "seed {seed}");
            let mut zxid = Zxid::ZERO;
            for (at, (reply, asked)) in replies.iter().zip(&asked[index]).enumerate() {
                assert_eq!((reply.xid(), reply.header.err), (at as i32 + 1, 0), "seed {seed}");
                assert!(reply.header.zxid >= zxid, "seed {seed}: time goes back");
                zxid = reply.header.zxid;
                match asked {
                    Asked::Get(data) => assert_eq!(reply.data().as_ref(), Some(data)),
                    Asked::Set(data) => assert!(!data.is_empty()),
                    Asked::Other => {}
                }
            }
        }
        ensemble.check_equal();
    }
}

#[test]
fn a_watch_at_a_learner_fires_before_the_change_is_seen() {
    let mut ensemble = Ensemble::new(5);
    let (watcher, _) = ensemble.connect(1, 10_000);
    let (writer, _) = ensemble.connect(2, 10_000);
    ensemble.servers[2].create(writer, 1, "/w", 0);
    ensemble.run();
    ensemble.servers[1].get(watcher, 1, "/w", true);
    ensemble.run();
    assert_eq!(ensemble.servers[1].reply(watcher).expect("read").xid(), 1);
    ensemble.servers[2].set(writer, 2, "/w", b"new");
    ensemble.run();
    ensemble.servers[1].get(watcher, 2, "/w", false);
    ensemble.run();
    let event = ensemble.servers[1].reply(watcher).expect("an event");
    assert_eq!(event.event(), (3, "/w".into()));
    let read = ensemble.servers[1].reply(watcher).expect("the read");
    assert_eq!(read.data().as_deref(), Some(&b"new"[..]));
}

#[test]
fn a_truncated_create_gets_its_error_and_nothing_else_happens() {
    let mut ensemble = Ensemble::new(6);
    let (client, _) = ensemble.connect(1, 10_000);
    let log_len = ensemble.servers[LEADER].log.len();
    let forwarded = ensemble.forwarded.len();
    let mut frame = request_frame(1, OpCode::Create.to_i32(), &Nothing);
    frame[3] += 3;
    frame.extend([0, 0, 0]);
    ensemble.servers[1].send(client, &frame);
    ensemble.run();
    let reply = ensemble.servers[1].reply(client).expect("an answer");
    assert_eq!((reply.xid(), reply.header.err), (1, MARSHALLING_ERROR));
    assert_eq!(ensemble.forwarded.len(), forwarded, "nothing was forwarded");
    assert_eq!(ensemble.servers[LEADER].log.len(), log_len, "no zxid was taken");
    ensemble.servers[1].create(client, 2, "/after", 0);
    ensemble.run();
    assert_eq!(ensemble.servers[1].reply(client).expect("an answer").header.err, 0);
    ensemble.check_equal();
}

#[test]
fn what_cannot_be_decoded_waits_for_its_turn_behind_a_write() {
    let mut ensemble = Ensemble::new(7);
    let (client, _) = ensemble.connect(2, 10_000);
    let world = &mut ensemble.servers[2];
    world.create(client, 1, "/a", 0);
    world.send(client, &request_frame(2, OpCode::SetData.to_i32(), &7i32));
    world.get(client, 3, "/a", false);
    world.create(client, 4, "/b", 0);
    ensemble.run();
    let replies = ensemble.servers[2].replies(client);
    let told: Vec<_> = replies.iter().map(|reply| (reply.xid(), reply.header.err)).collect();
    assert_eq!(told, [(1, 0), (2, MARSHALLING_ERROR), (3, 0), (4, 0)]);
    ensemble.check_equal();
}

#[test]
fn a_session_at_a_learner_lives_while_it_is_heard_of_and_is_expired_by_the_leader() {
    let mut ensemble = Ensemble::new(8);
    let (client, session) = ensemble.connect(1, 4000);
    ensemble.servers[1].create(client, 1, "/e", 1);
    ensemble.run();
    for _ in 0..10 {
        let ping = request_frame(Xid::PING.0, OpCode::Ping.to_i32(), &Nothing);
        ensemble.servers[1].send(client, &ping);
        ensemble.pass(1000);
    }
    assert!(ensemble.servers[2].shared.tree.node("/e").is_some());
    ensemble.pass(9000);
    assert_eq!(ensemble.servers[LEADER].expired, [session.id]);
    assert_eq!(ensemble.servers[1].clients[client].closed, Some(CloseReason::SessionClosed));
    for server in &ensemble.servers {
        assert!(server.shared.tree.node("/e").is_none());
    }
    ensemble.check_equal();
}

#[test]
fn a_session_moves_between_learners_and_the_leader() {
    let mut ensemble = Ensemble::new(9);
    let (first, session) = ensemble.connect(1, 10_000);
    ensemble.servers[1].create(first, 1, "/e", 1);
    ensemble.run();
    let second = ensemble.resume(2, &session);
    ensemble.run();
    assert_eq!(ensemble.servers[2].session(second), session);
    // The connection before is still there; what it asks for is refused by closing it.
    ensemble.servers[1].set(first, 2, "/e", b"late");
    ensemble.run();
    assert_eq!(ensemble.servers[1].clients[first].closed, Some(CloseReason::ClientReconnect));
    let data = ensemble.servers[2].shared.tree.node("/e").expect("there").data();
    assert_eq!(data, Some(&b"x"[..]));
    ensemble.servers[2].set(second, 1, "/e", b"new");
    ensemble.run();
    assert_eq!(ensemble.servers[2].replies(second).len(), 1);

    let third = ensemble.resume(LEADER, &session);
    ensemble.run();
    assert_eq!(ensemble.servers[LEADER].session(third), session);
    let fourth = ensemble.resume(1, &session);
    ensemble.run();
    assert_eq!(ensemble.servers[1].session(fourth), session);
    assert_eq!(ensemble.servers[LEADER].clients[third].closed, Some(CloseReason::ClientReconnect));
    ensemble.servers[1].request(fourth, 1, OpCode::CloseSession, &Nothing);
    ensemble.run();
    assert_eq!(ensemble.servers[1].replies(fourth).len(), 1);
    let closed = ensemble.servers[1].clients[fourth].closed;
    assert_eq!(closed, Some(CloseReason::ClientClosedSession));
    assert!(ensemble.servers[LEADER].shared.tree.node("/e").is_none());
    let fifth = ensemble.resume(2, &session);
    ensemble.run();
    assert_eq!(ensemble.servers[2].session(fifth).id, SessionId(0), "it is no more");
    assert_eq!(ensemble.servers[2].clients[fifth].closed, Some(CloseReason::SessionExpired));
    ensemble.check_equal();
}

#[test]
fn numbers_that_start_anew_after_a_move_are_not_taken_for_older_requests() {
    let mut ensemble = Ensemble::new(10);
    let (first, session) = ensemble.connect(1, 10_000);
    ensemble.servers[1].create(first, 1, "/a", 0);
    ensemble.run();
    // A write that does not get to the leader before the session has moved.
    ensemble.heard[1] = false;
    ensemble.servers[1].set(first, 2, "/a", b"late");
    ensemble.run();
    let second = ensemble.resume(2, &session);
    ensemble.run();
    assert_eq!(ensemble.servers[2].session(second), session);
    ensemble.heard[2] = false;
    ensemble.servers[2].set(second, 2, "/a", b"new");
    ensemble.run();
    ensemble.heard[1] = true;
    ensemble.run();
    // Whose refusal it is cannot be told: the client learns that it does not know.
    assert_eq!(ensemble.servers[2].replies(second), []);
    assert_eq!(ensemble.servers[2].clients[second].closed, Some(CloseReason::ClientReconnect));
    ensemble.heard[2] = true;
    ensemble.run();
    ensemble.check_equal();
}

/// What was asked for over a connection before the session moved is not carried out behind what it
/// asked for elsewhere meanwhile, when it comes back.
#[test]
fn a_session_that_comes_back_leaves_its_connection_before_behind_at_once() {
    for seed in 200..260 {
        let mut ensemble = Ensemble::new(seed);
        let (first, session) = ensemble.connect(1, 10_000);
        ensemble.servers[1].create(first, 1, "/a", 0);
        ensemble.run();
        let second = ensemble.resume(2, &session);
        ensemble.run();
        ensemble.servers[2].set(second, 3, "/a", b"new");
        ensemble.run();
        let third = ensemble.resume(1, &session);
        ensemble.servers[1].set(first, 2, "/a", b"late");
        ensemble.run();
        assert_eq!(ensemble.servers[1].session(third), session);
        let data = ensemble.servers[2].shared.tree.node("/a").expect("there").data();
        assert_eq!(data, Some(&b"new"[..]), "seed {seed}");
        assert_eq!(ensemble.servers[1].clients[first].closed, Some(CloseReason::ClientReconnect));
        ensemble.check_equal();
    }
}

#[test]
fn a_request_that_a_later_one_has_passed_closes_its_connection() {
    let mut ensemble = Ensemble::new(11);
    let (client, _) = ensemble.connect(1, 10_000);
    ensemble.lose_next = true;
    ensemble.servers[1].create(client, 1, "/lost", 0);
    ensemble.run();
    assert_eq!(ensemble.servers[1].replies(client), []);
    ensemble.servers[1].create(client, 2, "/b", 0);
    ensemble.run();
    assert_eq!(ensemble.servers[1].replies(client), []);
    assert_eq!(ensemble.servers[1].clients[client].closed, Some(CloseReason::RequestLost));
    assert!(ensemble.servers[1].shared.tree.node("/b").is_some());
    ensemble.check_equal();
}

#[test]
fn a_sync_is_answered_when_it_is_confirmed_and_not_before() {
    for server in [LEADER, 1] {
        let mut ensemble = Ensemble::new(12);
        let (client, _) = ensemble.connect(server, 10_000);
        ensemble.confirms = false;
        let world = &mut ensemble.servers[server];
        world.create(client, 1, "/a", 0);
        sync(world, client, 2);
        world.get(client, 3, "/a", false);
        world.create(client, 4, "/b", 0);
        ensemble.run();
        assert_eq!(ensemble.servers[server].replies(client).len(), 1, "only the first create");
        ensemble.confirms = true;
        ensemble.run();
        let replies = ensemble.servers[server].replies(client);
        let told: Vec<_> = replies.iter().map(|reply| (reply.xid(), reply.header.err)).collect();
        assert_eq!(told, [(2, 0), (3, 0), (4, 0)]);
        ensemble.check_equal();
    }
}

#[test]
fn a_read_after_a_sync_sees_what_was_acknowledged_elsewhere_before_it() {
    let mut ensemble = Ensemble::new(15);
    let (client, _) = ensemble.connect(1, 10_000);
    let (writer, _) = ensemble.connect(2, 10_000);
    ensemble.linked[1] = false;
    ensemble.servers[2].create(writer, 1, "/b", 0);
    ensemble.run();
    assert_eq!(ensemble.servers[2].replies(writer).len(), 1, "a quorum has it");
    let world = &mut ensemble.servers[1];
    world.get(client, 1, "/b", false);
    sync(world, client, 2);
    world.get(client, 3, "/b", false);
    ensemble.run();
    ensemble.linked[1] = true;
    ensemble.run();
    let replies = ensemble.servers[1].replies(client);
    let told: Vec<_> = replies.iter().map(|reply| (reply.xid(), reply.header.err)).collect();
    assert_eq!(told, [(1, NO_NODE), (2, 0), (3, 0)]);
    ensemble.check_equal();
}

#[test]
fn a_leader_without_a_quorum_acknowledges_nothing_and_takes_its_log_for_history() {
    let mut ensemble = Ensemble::new(13);
    let (client, session) = ensemble.connect(LEADER, 10_000);
    let (other, _) = ensemble.connect(1, 10_000);
    ensemble.linked = vec![false; 3];
    let world = &mut ensemble.servers[LEADER];
    world.disk_works = false;
    world.create(client, 1, "/a", 0);
    world.get(client, 2, "/a", false);
    sync(world, client, 3);
    ensemble.servers[1].create(other, 1, "/b", 0);
    ensemble.run();
    let leader = &mut ensemble.servers[LEADER];
    leader.step(CoreInput::Retire);
    leader.run();
    assert_eq!(leader.retired, None, "the tail is not durable yet");
    assert_eq!(leader.clients[client].closed, Some(CloseReason::NotServing));
    leader.flush();
    assert_eq!(leader.replies(client), []);
    let last = leader.log.last().expect("logged").0;
    assert_eq!(leader.retired, Some(last));
    assert!(leader.shared.tree.node("/a").is_some());
    assert_eq!((leader.shared.load.requests(), leader.shared.load.bytes()), (0, 0));

    let learner = &mut ensemble.servers[1];
    learner.step(CoreInput::Retire);
    learner.run();
    assert_eq!(learner.clients[other].closed, Some(CloseReason::NotServing));
    assert_eq!(learner.retired, Some(last.before()));
    assert_eq!((learner.shared.load.requests(), learner.core.report().forwarded), (0, 0));

    // Nobody is let in until the next role; then the session is there with its full timeout.
    let leader = &mut ensemble.servers[LEADER];
    leader.begin_role(CoreRole::Waiting);
    let refused = leader.accept(0);
    let frame = connect_frame(0, 10_000, session.id, &session.password, Some(false));
    leader.send(refused, &frame);
    leader.run();
    assert_eq!(leader.clients[refused].closed, Some(CloseReason::NotServing));
    leader.step(CoreInput::Retire);
    leader.begin_role(CoreRole::Leading { epoch: EPOCH + 1 });
    let resumed = leader.accept(1);
    leader.send(resumed, &frame);
    leader.run();
    assert_eq!(leader.session(resumed), session);
    assert_eq!(leader.shared.tree.last_processed_zxid(), Zxid((EPOCH + 1) << 32));
    leader.step(CoreInput::Retire);
    leader.run();
    assert_eq!(leader.retired, Some(last), "the start of an epoch is not in the log");
}

trait Before {
    fn before(self) -> Self;
}

impl Before for Zxid {
    fn before(self) -> Zxid {
        Zxid(self.0 - 1)
    }
}

#[test]
fn a_learner_lets_nobody_in_before_it_is_told_to_serve() {
    let role = CoreRole::Learning { observer: true };
    let mut world = World::new(Setup { role, ..Setup::default() });
    let client = world.accept(0);
    world.send(client, &connect_frame(0, 10_000, SessionId(0), &[0; 16], None));
    world.run();
    assert_eq!(world.clients[client].closed, Some(CloseReason::NotServing));
    assert_eq!(world.shared.load.requests(), 0);
    world.step(CoreInput::Serve { epoch: EPOCH });
    let client = world.accept(0);
    world.send(client, &connect_frame(0, 10_000, SessionId(0), &[0; 16], None));
    world.run();
    assert_eq!((world.clients[client].closed, world.peers.len()), (None, 1), "it asks the leader");
}

#[test]
fn learners_take_snapshots_of_their_own() {
    let config = CoreConfig { snap_count: 10, ..CoreConfig::default() };
    let mut ensemble = Ensemble::with(14, config);
    let (client, _) = ensemble.connect(1, 10_000);
    for xid in 1..40 {
        ensemble.servers[1].create(client, xid, &format!("/{xid}"), 0);
    }
    ensemble.run();
    for server in &ensemble.servers {
        assert!(server.snapshots > 0 && server.rolls > 0);
    }
    ensemble.check_equal();
}

#[test]
fn sessions_that_move_at_any_moment_leave_nothing_behind() {
    for seed in 100..140 {
        let mut ensemble = Ensemble::new(seed);
        let mut homes: Vec<_> = (0..4)
            .map(|index| {
                let (client, session) = ensemble.connect(index % 3, 30_000);
                (index % 3, client, session)
            })
            .collect();
        let (creator, client, _) = homes[0].clone();
        ensemble.servers[creator].create(client, 1, "/a", 0);
        ensemble.run();
        for round in 0..60 {
            let index = ensemble.dice.below(homes.len());
            let (server, client, session) = homes[index].clone();
            match ensemble.dice.below(5) {
                0 => {
                    if ensemble.dice.below(2) == 0 {
                        ensemble.servers[server].drop_connection(client);
                    }
                    let to = ensemble.dice.below(3);
                    let client = ensemble.resume(to, &session);
                    homes[index] = (to, client, session);
                }
                1 => sync(&mut ensemble.servers[server], client, round + 1),
                2 => ensemble.servers[server].get(client, round + 1, "/a", true),
                _ => ensemble.servers[server].set(client, round + 1, "/a", &[round as u8]),
            }
            let steps = ensemble.dice.below(30);
            ensemble.run_for(steps);
        }
        ensemble.run();
        ensemble.check_equal();
        for (_, _, session) in homes {
            let to = ensemble.dice.below(3);
            let client = ensemble.resume(to, &session);
            ensemble.run();
            assert_eq!(ensemble.servers[to].session(client).id, session.id, "seed {seed}");
            ensemble.servers[to].request(client, 1, OpCode::CloseSession, &Nothing);
            ensemble.run();
        }
        ensemble.check_equal();
        assert!(ensemble.servers[LEADER].shared.tree.sessions().is_empty());
    }
}

#[test]
fn a_proposal_that_cannot_be_read_is_not_taken() {
    let role = CoreRole::Learning { observer: false };
    let mut world = World::new(Setup { role, ..Setup::default() });
    let mut builder = SegmentBuilder::default();
    builder.push(Zxid(1), b"no transaction");
    world.step(CoreInput::Proposals(builder.freeze()));
    let told = world.peers.pop_front();
    assert!(matches!(told, Some(CoreEffect::ProposalUnreadable(Zxid(1)))), "{told:?}");
    assert!(world.log.is_empty());
    world.step(CoreInput::Committed(Zxid(1)));
    world.step(CoreInput::Retire);
    assert_eq!(world.retired, Some(Zxid::ZERO));
}

/// A learner whose leader wrote its snapshot down while it went on, with these proposals
/// committed; the tree is none of those that their digests tell of.
fn over_a_fuzzy_snapshot(before_serve: u32, after_serve: u32) -> World {
    let role = CoreRole::Learning { observer: false };
    let mut tree = Tree::new(TreeConfig { digest_enabled: true, ..TreeConfig::default() });
    tree.begin_overlap();
    let mut world = World::new(Setup { role, tree: Some(tree), ..Setup::default() });
    for counter in 1..=before_serve + after_serve {
        if counter == before_serve + 1 {
            world.step(CoreInput::Serve { epoch: EPOCH });
        }
        let (client_id, zxid) =
            (SessionId(i64::from(counter)), Zxid((EPOCH << 32) | i64::from(counter)));
        let txn_type = OpCode::CreateSession.to_i32();
        let header = TxnHeader { client_id, cxid: Xid(0), zxid, time_ms: 1, txn_type };
        let mut txn = header.to_bytes();
        CreateSessionTxn { timeout_ms: 10_000 }.encode(&mut txn);
        TxnDigest { version: 2, tree_digest: 17 }.encode(&mut txn);
        let mut builder = SegmentBuilder::default();
        builder.push(zxid, &txn);
        world.step(CoreInput::Proposals(builder.freeze()));
        world.run();
        world.step(CoreInput::Committed(zxid));
        world.run();
    }
    world
}

#[test]
fn the_overlap_of_a_fuzzy_snapshot_is_no_divergence() {
    let world = over_a_fuzzy_snapshot(130, 0);
    assert_eq!(world.shared.tree.last_processed_zxid(), Zxid((EPOCH << 32) | 130));
    let noted = world.shared.digests.iter().count();
    assert_eq!(noted, 0, "a digest of what was no tree of its zxid is not shown");
}

#[test]
#[should_panic(expected = "digest differs at 0x300000006")]
fn what_differs_after_the_synchronisation_is_divergence() {
    over_a_fuzzy_snapshot(5, 1);
}
