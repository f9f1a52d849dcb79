//! What a leader sends, to a learner whose driver carries out everything at once. The first byte
//! draws the role and how the stream is cut into pieces.

use rookeeper_jute::{ServerId, SessionId, Zxid};
use rookeeper_zab::learner::{Learner, LearnerConfig, LearnerEffect, LearnerInput};
use rookeeper_zab::membership::{MembershipRules, Role};

/// A learner and a disk that never waits.
struct World {
    learner: Learner,
    effects: Vec<LearnerEffect>,
    now_ms: u64,
    appended: Zxid,
    committed: Zxid,
    ended: bool,
}

/// Feeds the stream. Commits follow their proposals, and nothing follows the end.
pub fn run(input: &[u8]) {
    let Some((draw, stream)) = input.split_first() else { return };
    let role = if draw & 1 == 0 { Role::Participant } else { Role::Observer };
    let config = LearnerConfig {
        me: ServerId(2),
        leader: ServerId(3),
        role,
        tick_time_ms: 1000,
        init_limit: 10,
        sync_limit: 5,
        connect_limit: 0,
        connect_delay_ms: None,
        config_version: 0,
        accepted_epoch: i64::from(draw >> 6),
        current_epoch: 0,
        last_zxid: Zxid(0),
        buffer_len_max: 1 << 16,
        rules: MembershipRules::default(),
    };
    let mut world = World {
        learner: Learner::new(config, 0),
        effects: Vec::new(),
        now_ms: 0,
        appended: Zxid(0),
        committed: Zxid(0),
        ended: false,
    };
    world.step(LearnerInput::Start);
    let piece = 1 + usize::from(draw >> 1 & 31) * 37;
    for bytes in stream.chunks(piece) {
        world.step(LearnerInput::Received(bytes));
        world.step(LearnerInput::Durable(world.appended));
        world.now_ms += 1;
    }
    world.now_ms += 60_000;
    world.step(LearnerInput::Tick);
    world.step(LearnerInput::Closed);
}

impl World {
    fn step(&mut self, input: LearnerInput<'_>) {
        self.learner.step(self.now_ms, input, &mut self.effects);
        let mut answers = 0;
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                assert!(!self.ended, "{effect:?} after the end");
                self.carry_out(effect);
            }
            answers += 1;
            assert!(answers < 1000, "a learner comes to rest");
        }
    }

    fn carry_out(&mut self, effect: LearnerEffect) {
        let answer = match effect {
            LearnerEffect::Connect => LearnerInput::Connected,
            LearnerEffect::WriteEpoch { kind, .. } => LearnerInput::EpochWritten(kind),
            LearnerEffect::Begin(start) => {
                use rookeeper_zab::learner::SyncStart;
                match start {
                    SyncStart::Diff => {}
                    SyncStart::Trunc(zxid) => self.appended = zxid,
                    SyncStart::Snap(zxid) => {
                        (self.appended, self.committed) = (zxid, zxid);
                        return;
                    }
                }
                LearnerInput::Ready
            }
            LearnerEffect::SnapshotEnd => LearnerInput::Ready,
            LearnerEffect::Settle => LearnerInput::Settled,
            LearnerEffect::TouchesWanted => LearnerInput::Touches(vec![(SessionId(1), 4000)]),
            LearnerEffect::Proposals(segment) => {
                self.appended = self.appended.max(segment.last_zxid());
                return;
            }
            LearnerEffect::Commit(zxid) => {
                assert!(zxid <= self.appended, "{zxid} is committed and was never proposed");
                self.committed = self.committed.max(zxid);
                return;
            }
            LearnerEffect::Abandon(_) => {
                self.ended = true;
                return;
            }
            _ => return,
        };
        self.learner.step(self.now_ms, answer, &mut self.effects);
    }
}
