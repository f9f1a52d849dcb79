//! Which server is next: the caller's order, round and round, with a pause after each full cycle
//! without success (Java: `StaticHostProvider`).

/// The pause after a full cycle, in milliseconds.
pub(crate) const SPIN_DELAY_MS: u64 = 1000;

/// The servers by their place in the caller's order.
#[derive(Debug)]
pub(crate) struct Hosts {
    count: usize,
    current: Option<usize>,
    /// Where the cycle began: the last server that accepted us, at first the first one.
    cycle_start: Option<usize>,
}

impl Hosts {
    pub(crate) fn new(count: usize) -> Hosts {
        assert!(count > 0, "a session needs a server");
        Hosts { count, current: None, cycle_start: None }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The next server, and whether the cycle is full.
    pub(crate) fn next(&mut self) -> (usize, bool) {
        let next = self.current.map_or(0, |current| (current + 1) % self.count);
        self.current = Some(next);
        let is_full_cycle = self.cycle_start == Some(next);
        // The very first attempt begins the first cycle.
        self.cycle_start.get_or_insert(0);
        (next, is_full_cycle)
    }

    /// The current server accepted us: a new cycle.
    pub(crate) fn accepted(&mut self) {
        self.cycle_start = self.current;
    }

    /// Continues after `host`, which was reached out of turn.
    pub(crate) fn jump(&mut self, host: usize) {
        assert!(host < self.count, "a server of the list");
        self.current = Some(host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_come_in_turn_and_a_full_cycle_is_seen() {
        let mut hosts = Hosts::new(3);
        let mut take = |count: usize| (0..count).map(|_| hosts.next()).collect::<Vec<_>>();
        assert_eq!(take(4), [(0, false), (1, false), (2, false), (0, true)]);
        assert_eq!(take(3), [(1, false), (2, false), (0, true)]);
        hosts.next();
        hosts.accepted();
        let mut take = |count: usize| (0..count).map(|_| hosts.next()).collect::<Vec<_>>();
        assert_eq!(take(3), [(2, false), (0, false), (1, true)]);
    }

    #[test]
    fn a_lone_server_is_a_cycle_by_itself() {
        let mut hosts = Hosts::new(1);
        assert_eq!(hosts.next(), (0, false));
        hosts.accepted();
        assert_eq!(hosts.next(), (0, true));
    }
}
