//! Who is there besides the voters, and what servers are allowed beyond the plain: observers,
//! masters of theirs, groups and weights, changes of the ensemble, local sessions, servers that can
//! be read without a leader, epochs that end early. A third of the seeds has none of it, and in
//! about half of all clients change the ensemble.

use crate::dice::Dice;

/// What becomes of a local session's ephemerals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrading {
    /// The session becomes known to all.
    Upgraded,
    /// They are refused.
    Refused,
}

/// What a seed has beyond voters that serve.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// Observers beside the voters.
    pub observers: usize,
    /// Whether observers learn from followers.
    pub has_masters: bool,
    /// Whether all observers die when trouble ends, and stay away until clients rest.
    pub observers_die: bool,
    /// Whether observers keep no log (`syncEnabled=false`).
    pub observers_log_nothing: bool,
    /// Whether clients change the ensemble.
    pub reconfigures: bool,
    /// Whether they move servers to other ports too.
    pub moves_ports: bool,
    /// What decides the groups and weights of five voters or more, where they have any.
    pub groups: Option<u64>,
    /// Machines that are no members in the beginning.
    pub spares: usize,
    /// Whether new sessions are known to one server alone, and whether their first ephemeral makes
    /// them known to all.
    pub local_sessions: Option<Upgrading>,
    /// After so many milliseconds without a leader a server lets clients read.
    pub read_only_after_ms: Option<u64>,
    /// The last counter of an epoch's zxids, where it is not the real one.
    pub epoch_counter_last: Option<u32>,
}

impl Roles {
    /// Draws a seed's roles.
    pub fn draw(dice: &mut Dice) -> Roles {
        let mut roles = Roles::default();
        if dice.one_in(3) {
            return roles;
        }
        if dice.percent(40) {
            roles.observers = dice.between(1, 2) as usize;
            roles.has_masters = dice.one_in(3);
            roles.observers_die = dice.one_in(2);
            roles.observers_log_nothing = dice.one_in(4);
        }
        if dice.percent(25) {
            let refused = dice.one_in(4);
            roles.local_sessions =
                Some(if refused { Upgrading::Refused } else { Upgrading::Upgraded });
        }
        if dice.percent(20) {
            roles.read_only_after_ms = Some(dice.between(200, 2000));
            // Without them there are no sessions on a server without a leader.
            roles.local_sessions.get_or_insert(Upgrading::Upgraded);
        }
        if dice.one_in(5) {
            roles.epoch_counter_last = Some(dice.between(20, 150) as u32);
        }
        if dice.percent(70) {
            roles.reconfigures = true;
            roles.moves_ports = dice.one_in(3);
            roles.spares = dice.between(0, 2) as usize;
        }
        roles.groups = dice.one_in(3).then(|| dice.draw());
        roles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_in_some_seeds_and_a_third_of_them_has_none() {
        let all: Vec<Roles> = (0..200).map(|seed| Roles::draw(&mut Dice::new(seed))).collect();
        let count = |has: fn(&Roles) -> bool| all.iter().filter(|roles| has(roles)).count();
        assert!((50..95).contains(&count(|roles| *roles == Roles::default())));
        assert!(count(|roles| roles.observers == 1) > 10);
        assert!(count(|roles| roles.observers == 2 && roles.has_masters) > 3);
        assert!(count(|roles| roles.observers_die) > 10);
        assert!(count(|roles| roles.observers_log_nothing && roles.reconfigures) > 3);
        assert!((70..120).contains(&count(|roles| roles.reconfigures)));
        assert!(count(|roles| roles.reconfigures && roles.spares > 0) > 30);
        assert!(count(|roles| roles.reconfigures && roles.moves_ports) > 5);
        assert!(count(|roles| roles.local_sessions == Some(Upgrading::Upgraded)) > 10);
        assert!(count(|roles| roles.local_sessions == Some(Upgrading::Refused)) > 3);
        assert!(count(|roles| roles.read_only_after_ms.is_some()) > 10);
        assert!(count(|roles| roles.epoch_counter_last.is_some()) > 5);
        assert!(count(|roles| roles.groups.is_some()) > 20);
    }
}
