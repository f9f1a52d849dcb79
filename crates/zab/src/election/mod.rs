//! Fast leader election: servers that look for a leader tell each other their votes until a
//! quorum agrees (Java: `FastLeaderElection`; its messages are [`Notification`]s).
//!
//! The machine outlives its elections: once settled it goes on to answer those who still look.
//! Nine things differ from Java, all within the protocol:
//! - The wait for a better vote, 200 ms, ends once every voter that can be reached agrees: then
//!   none can come. It also never starts anew, whatever else arrives. A learner may thus be early
//!   at a leader that still waits, and has to go on trying for `initLimit`.
//! - Who has no vote and asks while an election is on gets this election's proposal, not the last
//!   one's result, and hears of the end at once.
//! - A server that comes back does not lead because others still follow its former life, even if
//!   the rounds are equal: they have to follow what it offers now.
//! - Who settles on another leader tells those who follow this server in vain, and they listen to
//!   what their leader says of itself: Java's try to connect until they give up.
//! - Who leads goes on to ask the voters until its epoch has begun, and gives up once too few of
//!   them are without another leader. For in Java a server that has taken its vote back still
//!   leads if a follower's word comes before its own new vote, which it hears like others', and the
//!   better one is elected by that vote: a Java server then leads alone for `initLimit`.
//! - Who has settled by votes, has not said so to its leader, and hears that it has found a better
//!   one meanwhile looks again at once, and does not say it then: so nothing makes both lead.
//! - Who looks again counts no more for the leader that it named before.
//! - Two servers that take each other for no voter do not answer each other's answers for ever.
//! - Where nobody in force can win because of a change that is pending, its new voters stand.

mod looking;
mod settled;
mod standing;
mod vote;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rookeeper_jute::quorum::{NOTIFICATION_VERSION, Notification, PeerState};
use rookeeper_jute::{Decode, Encode, Reader, ServerId, Zxid};

use crate::membership::{Membership, MembershipRules, Role};
use crate::quorum::{Ensemble, Oracle};

use looking::Looking;
use settled::Settled;
use standing::Standing;
pub use vote::{Ballot, Vote};

/// Servers without a vote whose last answer is remembered.
const ASKERS_MAX: usize = 256;

/// Peers of which it is remembered whether they can be reached; beyond them voters alone.
const REACH_MAX: usize = 512;

/// No server gets there by counting; beyond it a round would overflow.
const ROUND_MAX: i64 = i64::MAX / 2;

/// How an election runs.
#[derive(Debug, Clone)]
pub struct ElectionConfig {
    /// This server.
    pub me: ServerId,
    /// How long to wait for a better vote (Java: `finalizeWait`, 200).
    pub finalize_wait_ms: u64,
    /// The first interval between notifications
    /// (`zookeeper.fastleader.minNotificationInterval`, 200).
    pub notification_interval_ms_min: u64,
    /// The last one (`zookeeper.fastleader.maxNotificationInterval`, 60000).
    pub notification_interval_ms_max: u64,
    /// How to read others' configurations.
    pub rules: MembershipRules,
}

impl ElectionConfig {
    /// Java's defaults.
    pub fn new(me: ServerId) -> ElectionConfig {
        ElectionConfig {
            me,
            finalize_wait_ms: 200,
            notification_interval_ms_min: 200,
            notification_interval_ms_max: 60_000,
            rules: MembershipRules::default(),
        }
    }
}

/// What happens to an election.
#[derive(Debug, Clone)]
pub enum ElectionInput<'a> {
    /// This server has no leader (any more).
    Look {
        /// The last zxid in its log; -1 where it does not know what it should hold, and may not
        /// vote.
        last_zxid: Zxid,
        /// Its current epoch.
        current_epoch: i64,
    },
    /// A message came over an election link.
    Message {
        /// From whom.
        from: ServerId,
        /// The frame's body.
        body: &'a [u8],
    },
    /// There is a link to a peer.
    PeerUp(ServerId),
    /// A peer cannot be reached: its link was lost, or a dial failed.
    PeerDown(ServerId),
    /// The time of [`Election::deadline_ms`] has come.
    Tick,
    /// What the oracle says by now.
    Oracle(Oracle),
    /// The epoch that this server agreed on with its leader, or has made as leader.
    Synchronised {
        /// The epoch.
        epoch: i64,
    },
    /// A reconfiguration named the next leader: settled without an election.
    Designated {
        /// The leader.
        leader: ServerId,
        /// The reconfiguration.
        zxid: Zxid,
    },
    /// A configuration was proposed or committed.
    Ensemble(Ensemble),
    /// This server takes no part until it looks again: it says nothing of a leader that it does
    /// not have any more.
    Withdraw,
}

/// What to do for an election, in this order.
#[derive(Debug, Clone)]
pub enum ElectionEffect {
    /// Send a message to a peer; only the newest one counts.
    Send {
        /// To whom.
        to: ServerId,
        /// The frame's body.
        message: Arc<[u8]>,
    },
    /// Others have a newer configuration: write it down and use it. The election has begun anew
    /// if it makes a difference.
    Adopt(Arc<Membership>),
    /// The election is over.
    Settled(Outcome),
    /// This server leads, and a voter is looking (for
    /// `zookeeper.leader.maxTimeToWaitForEpoch`).
    VoterLooks(ServerId),
    /// This server leads, and a voter looks in a later round, or proposes a better leader in the
    /// same one: it follows this server no more, unless a quorum does.
    VoterLeft(ServerId),
    /// This server leads, and a voter does not come to it as things are: it follows or leads
    /// elsewhere; or it looks and does not know what it should hold, so that it takes no part in
    /// elections, and follows whom a quorum of the others does.
    VoterAway(ServerId),
    /// The leader that was settled on says that it leads no more, or never did: it looks in a
    /// later round, or follows somebody else.
    LeaderLeft(ServerId),
    /// The leader that was settled on proposes somebody else in the same round. It may come to
    /// lead all the same, where a quorum tells it that it does.
    LeaderWavers(ServerId),
}

/// How an election ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What this server is from now on.
    pub state: PeerState,
    /// The leader.
    pub vote: Vote,
    /// The round.
    pub round: i64,
    /// Whose votes decided.
    pub supporters: Vec<ServerId>,
    /// The others had settled before.
    pub joined: bool,
}

/// What is known of the link to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Up,
    Down,
}

/// The last answer to a server without a vote.
#[derive(Debug)]
struct Answer {
    at_ms: u64,
    message: Arc<[u8]>,
}

#[derive(Debug)]
enum Phase {
    /// Before the first election, or withdrawn.
    Idle,
    Looking(Looking),
    Settled(Settled),
}

/// A server's part in elections.
#[derive(Debug)]
pub struct Election {
    config: ElectionConfig,
    ensemble: Ensemble,
    /// The committed configuration's text, which every notification carries.
    text: Vec<u8>,
    oracle: Oracle,
    round: i64,
    last_zxid: Zxid,
    current_epoch: i64,
    phase: Phase,
    standing: Standing,
    reach: BTreeMap<ServerId, Reach>,
    answers: BTreeMap<ServerId, Answer>,
}

impl Election {
    /// A server that has not looked for a leader yet.
    pub fn new(config: ElectionConfig, ensemble: Ensemble) -> Election {
        let text = ensemble.committed().to_string().into_bytes();
        Election {
            config,
            ensemble,
            text,
            oracle: Oracle::Absent,
            round: 0,
            last_zxid: Zxid::ZERO,
            current_epoch: 0,
            phase: Phase::Idle,
            standing: Standing::default(),
            reach: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }

    /// What this server shows in notifications; looking before the first election.
    pub fn state(&self) -> PeerState {
        match &self.phase {
            Phase::Settled(settled) => settled.ballot.state,
            Phase::Idle | Phase::Looking(_) => PeerState::Looking,
        }
    }

    /// The leader, where this server has one.
    pub fn leader(&self) -> Option<ServerId> {
        match &self.phase {
            Phase::Settled(settled) => Some(settled.ballot.vote.leader),
            Phase::Idle | Phase::Looking(_) => None,
        }
    }

    /// The round of the present or last election (Java: `logicalclock`).
    pub fn round(&self) -> i64 {
        self.round
    }

    /// The configurations that decide.
    pub fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// When [`ElectionInput::Tick`] is due, in monotonic milliseconds.
    pub fn deadline_ms(&self) -> Option<u64> {
        match &self.phase {
            Phase::Looking(looking) => {
                let at_ms = looking.deadline_ms();
                Some(self.standing_at_ms().map_or(at_ms, |standing_ms| at_ms.min(standing_ms)))
            }
            Phase::Settled(settled) => settled.deadline_ms(),
            Phase::Idle => None,
        }
    }

    /// Takes one input at the monotonic time `now_ms`.
    pub fn step(
        &mut self,
        now_ms: u64,
        input: ElectionInput<'_>,
        effects: &mut Vec<ElectionEffect>,
    ) {
        match input {
            ElectionInput::Look { last_zxid, current_epoch } => {
                self.last_zxid = last_zxid;
                self.current_epoch = current_epoch;
                self.standing.begin(now_ms, self.config.finalize_wait_ms);
                self.look(now_ms, effects);
            }
            ElectionInput::Message { from, body } => self.receive(now_ms, from, body, effects),
            ElectionInput::PeerUp(peer) => {
                self.reaches(peer, Reach::Up);
                self.hasten(now_ms);
            }
            ElectionInput::PeerDown(peer) => {
                self.reaches(peer, Reach::Down);
                self.count(now_ms, effects);
            }
            ElectionInput::Tick => {
                self.tick(now_ms, effects);
                self.ask(now_ms, effects);
            }
            ElectionInput::Oracle(oracle) => {
                self.oracle = oracle;
                self.count(now_ms, effects);
            }
            ElectionInput::Synchronised { epoch } => {
                if let Phase::Settled(settled) = &mut self.phase {
                    settled.synchronised(epoch);
                }
            }
            ElectionInput::Designated { leader, zxid } => self.designated(leader, zxid, effects),
            ElectionInput::Ensemble(ensemble) => self.reconfigure(now_ms, ensemble, effects),
            ElectionInput::Withdraw => {
                self.answers.clear();
                self.phase = Phase::Idle;
            }
        }
    }

    /// Observers without an id are another peer with each connection.
    fn reaches(&mut self, peer: ServerId, reach: Reach) {
        if self.reach.len() >= REACH_MAX {
            let ensemble = &self.ensemble;
            self.reach.retain(|known, _| ensemble.is_voter(*known));
        }
        self.reach.insert(peer, reach);
    }

    fn designated(&mut self, leader: ServerId, zxid: Zxid, effects: &mut Vec<ElectionEffect>) {
        if let Phase::Settled(settled) = &self.phase {
            let vote = Vote { leader, zxid, peer_epoch: settled.ballot.vote.peer_epoch };
            self.settle(vote, Vec::new(), true, effects);
        }
    }

    fn reconfigure(&mut self, now_ms: u64, ensemble: Ensemble, effects: &mut Vec<ElectionEffect>) {
        let differs = ensemble.committed().differs_from(self.ensemble.committed())
            || ensemble.last_seen().differs_from(self.ensemble.last_seen());
        self.text = ensemble.committed().to_string().into_bytes();
        self.ensemble = ensemble;
        if differs && matches!(self.phase, Phase::Looking(_)) {
            self.look(now_ms, effects);
        }
    }

    /// Takes over a configuration that a peer has and this server has not; true where the
    /// election began anew.
    fn gossip(&mut self, now_ms: u64, text: &[u8], effects: &mut Vec<ElectionEffect>) {
        if !matches!(self.phase, Phase::Looking(_)) || text == self.text {
            return;
        }
        let text = String::from_utf8_lossy(text);
        let Ok(membership) = Membership::parse(&text, &self.config.rules) else { return };
        let newer = membership.version() > self.ensemble.committed().version();
        if !newer || membership.voters().next().is_none() {
            return;
        }
        let membership = Arc::new(membership);
        let differs = membership.differs_from(self.ensemble.committed());
        effects.push(ElectionEffect::Adopt(membership.clone()));
        self.ensemble.adopt(membership);
        self.text = self.ensemble.committed().to_string().into_bytes();
        if differs {
            self.look(now_ms, effects);
        }
    }

    fn receive(
        &mut self,
        now_ms: u64,
        from: ServerId,
        body: &[u8],
        effects: &mut Vec<ElectionEffect>,
    ) {
        let Ok(notification) = Notification::decode(&mut Reader::new(body)) else { return };
        let Notification { leader, zxid, peer_epoch, version, state, .. } = notification;
        let round = notification.election_epoch;
        if !(0..=ROUND_MAX).contains(&round) || matches!(self.phase, Phase::Idle) {
            return;
        }
        match (version >= NOTIFICATION_VERSION, notification.config) {
            (true, Some(text)) => self.gossip(now_ms, text, effects),
            (true, None) => return,
            (false, _) => {}
        }
        let looks = state == PeerState::Looking;
        if !self.ensemble.is_voter(from) {
            if looks {
                self.answer_asker(now_ms, from, effects);
            }
            return;
        }
        let ballot = Ballot { vote: Vote { leader, zxid, peer_epoch }, round, state, version };
        match &self.phase {
            Phase::Idle => {}
            Phase::Looking(_) => {
                if looks {
                    self.follows_nobody(from);
                }
                if looks && round < self.round {
                    let message = self.notification();
                    effects.push(ElectionEffect::Send { to: from, message });
                }
                if self.ensemble.is_voter(leader) {
                    self.consider(now_ms, from, ballot, effects);
                } else if looks && ballot.vote.is_for_nobody() {
                    self.join_round(now_ms, round, effects);
                }
            }
            Phase::Settled(_) if looks => self.asked(from, &ballot, effects),
            Phase::Settled(own) => effects.extend(own.heard(from, &ballot)),
        }
    }

    /// Answers a server that has no vote. The same answer goes out once in half a wait only.
    fn answer_asker(&mut self, now_ms: u64, to: ServerId, effects: &mut Vec<ElectionEffect>) {
        let message = self.notification();
        let pause_ms = self.config.finalize_wait_ms / 2;
        if let Some(last) = self.answers.get(&to)
            && last.message == message
            && now_ms < last.at_ms.saturating_add(pause_ms)
        {
            return;
        }
        if self.answers.len() >= ASKERS_MAX {
            self.answers.clear();
        }
        self.answers.insert(to, Answer { at_ms: now_ms, message: message.clone() });
        effects.push(ElectionEffect::Send { to, message });
    }

    /// What this server has to say.
    fn notification(&self) -> Arc<[u8]> {
        let (vote, state) = match &self.phase {
            Phase::Settled(settled) => return self.notification_of(&settled.ballot),
            Phase::Looking(looking) => (looking.proposal(), PeerState::Looking),
            Phase::Idle => (self.initial_vote(), PeerState::Looking),
        };
        let (round, version) = (self.round, NOTIFICATION_VERSION);
        self.notification_of(&Ballot { vote, round, state, version })
    }

    fn notification_of(&self, ballot: &Ballot) -> Arc<[u8]> {
        let notification = Notification {
            state: ballot.state,
            leader: ballot.vote.leader,
            zxid: ballot.vote.zxid,
            election_epoch: ballot.round,
            peer_epoch: ballot.vote.peer_epoch,
            version: NOTIFICATION_VERSION,
            config: Some(&self.text),
        };
        let mut message = Vec::with_capacity(44 + self.text.len());
        notification.encode(&mut message);
        message.into()
    }

    fn tell_voters(&self, message: &Arc<[u8]>, effects: &mut Vec<ElectionEffect>) {
        let me = self.config.me;
        for to in self.ensemble.voters().into_iter().filter(|voter| *voter != me) {
            effects.push(ElectionEffect::Send { to, message: message.clone() });
        }
    }

    /// Ends the election; who asked in vain meanwhile is told, and so is who takes this server for
    /// its leader where it has another one.
    fn settle(
        &mut self,
        vote: Vote,
        supporters: Vec<ServerId>,
        joined: bool,
        effects: &mut Vec<ElectionEffect>,
    ) {
        let state = if vote.leader == self.config.me {
            PeerState::Leading
        } else {
            match self.ensemble.role(self.config.me) {
                Role::Participant => PeerState::Following,
                Role::Observer => PeerState::Observing,
            }
        };
        let round = self.round;
        let version = NOTIFICATION_VERSION;
        let believers = match &self.phase {
            Phase::Looking(looking) if state != PeerState::Leading => {
                looking.followers_of(self.config.me)
            }
            _ => BTreeSet::new(),
        };
        let ballot = Ballot { vote, round, state, version };
        self.phase = Phase::Settled(Settled::new(ballot, !joined));
        self.standing.end();
        let outcome = Outcome { state, vote, round, supporters, joined };
        effects.push(ElectionEffect::Settled(outcome));
        let message = self.notification();
        let askers = std::mem::take(&mut self.answers).into_keys();
        for to in askers.chain(believers) {
            effects.push(ElectionEffect::Send { to, message: message.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_that_come_and_go_are_forgotten_and_voters_are_not() {
        let text = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2";
        let membership = Membership::parse(text, &MembershipRules::default()).expect("three");
        let ensemble = Ensemble::new(Arc::new(membership));
        let mut election = Election::new(ElectionConfig::new(ServerId(1)), ensemble);
        let effects = &mut Vec::new();
        election.step(0, ElectionInput::PeerDown(ServerId(3)), effects);
        for number in 0..10_000 {
            election.step(0, ElectionInput::PeerUp(ServerId(-1 - number)), effects);
        }
        assert!(election.reach.len() <= REACH_MAX);
        assert_eq!(election.reach.get(&ServerId(3)), Some(&Reach::Down));
    }
}
