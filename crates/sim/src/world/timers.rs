//! What comes at a time: ticks, and the times that replicas ask for. A timer that is late is late
//! alone: packets, disk and clients of its server are served on time.

use rookeeper_replica::{CoreInput, ShardEffects, TICK_INTERVAL_MS};

use super::process::{Engine, Message};
use super::{Event, Who, World};

impl World {
    /// How late the timers of a server are now, in microseconds; another time each time.
    fn lateness_us(&mut self, server: usize) -> Option<u64> {
        let late_us = self.machines.get(server)?.late_us?;
        Some(self.dice.between(late_us / 4, late_us))
    }

    /// The time of a tick has come.
    pub(super) fn tick_due(&mut self, who: Who) {
        match self.lateness_us(who.server) {
            Some(late_us) => self.queue.push(late_us, Event::LateTick(who)),
            None => self.tick_turn(who),
        }
    }

    /// The time that a replica asked for has come.
    pub(super) fn deadline_due(&mut self, who: Who, at_us: u64) {
        match self.lateness_us(who.server) {
            Some(late_us) => self.queue.push(late_us, Event::LateDeadline(who, at_us)),
            None => self.deadline_turn(who, at_us),
        }
    }

    /// The replica wants a tick at some time.
    pub(super) fn plan_deadline(&mut self, who: Who) {
        let clock = self.machines[who.server].clock;
        let Some(process) = self.process(who) else { return };
        let Engine::Member(replica) = &process.engine else { return };
        let wanted_us = replica.deadline_ms().map(|due_ms| clock.world_us(due_ms));
        if let Some(at_us) = wanted_us
            && process.deadline_us != wanted_us
        {
            process.deadline_us = wanted_us;
            self.queue.push_at(at_us, Event::Deadline(who, at_us));
        }
    }

    pub(super) fn deadline_turn(&mut self, who: Who, at_us: u64) {
        let Some(process) = self.process(who) else { return };
        if process.deadline_us == Some(at_us) {
            process.deadline_us = None;
            self.tell_core(who, Message::Tick);
        }
    }

    pub(super) fn tick_turn(&mut self, who: Who) {
        let now = self.server_now(who.server);
        let Some(process) = self.process(who) else { return };
        for shard in 0..process.shards.len() {
            let Some(process) = self.process(who) else { return };
            let mut effects = ShardEffects::default();
            process.shards[shard].shard.tick(now, &mut effects);
            self.carry_shard(who, shard, effects);
        }
        self.tell_core(who, Message::Core(CoreInput::Tick));
        if self.plan.asks_for_snapshots && self.dice.one_in(5) {
            self.tell_core(who, Message::Core(CoreInput::TakeSnapshot));
        }
        let after_us = TICK_INTERVAL_MS * 1000 + self.dice.below(10_000);
        self.queue.push(after_us, Event::Tick(who));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::Setup;
    use crate::world::Mending;

    #[test]
    fn timers_are_late_by_what_was_drawn_alone_and_until_they_are_mended() {
        let mut world = World::new(Setup { mishaps: Some(Vec::new()), ..Setup::new(2, 3) });
        let (late_us, for_us) = (400_000, 3_000_000);
        let (from_us, to_us) = (2_000_000, 2_000_000 + for_us);
        // Of each time that came while timers were late: when it was told.
        let (mut due, mut told) = (BTreeMap::new(), Vec::new());
        let (mut core, mut disk) = (0, 0);
        while let Some(event) = world.queue.pop() {
            let now_us = world.queue.now_us();
            let is_late = (from_us..to_us).contains(&now_us);
            if is_late && world.machines[0].late_us.is_none() {
                world.machines[0].late_us = Some(late_us);
                let left_us = to_us - now_us;
                world.queue.push(left_us, Event::Mend(Mending::Timers(0)));
            }
            match event {
                Event::Deadline(who, at_us) if who.server == 0 && is_late => {
                    due.insert(at_us, now_us);
                }
                Event::LateDeadline(who, at_us) => {
                    assert_eq!(who.server, 0, "the others' are on time");
                    told.push(now_us - due.remove(&at_us).expect("it was due"));
                }
                Event::Core(who) if who.server == 0 && is_late => core += 1,
                Event::Disk(who) if who.server == 0 && is_late => disk += 1,
                _ if now_us > to_us + 2 * late_us => break,
                _ => {}
            }
            world.happen(event);
        }
        assert!(world.fault.is_none(), "{:?}", world.fault);
        assert!(due.is_empty() && told.len() >= 3, "{due:?}, {told:?}");
        assert!(told.iter().all(|by_us| (late_us / 4..=late_us).contains(by_us)), "{told:?}");
        assert!(core > 100 && disk > 10, "{core} and {disk} turns meanwhile");
        assert_eq!(world.machines[0].late_us, None);
    }
}
