//! Weighted groups: a quorum is more than half of the weight in more than half of the groups
//! that have any weight (Java: `QuorumHierarchical`).

use std::collections::BTreeMap;

use rookeeper_jute::ServerId;

use crate::membership::MembershipError;

/// A group and its servers, in the order in which texts show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLine {
    /// The group's number.
    pub group: i64,
    /// Its servers.
    pub servers: Vec<ServerId>,
}

/// Groups of servers with weights.
#[derive(Debug, Clone)]
pub struct Hierarchy {
    groups: Vec<GroupLine>,
    weights: Vec<(ServerId, i64)>,
    group_of: BTreeMap<ServerId, i64>,
    weight_of: BTreeMap<ServerId, i64>,
    group_weights: BTreeMap<i64, i64>,
}

impl PartialEq for Hierarchy {
    fn eq(&self, other: &Hierarchy) -> bool {
        self.group_of == other.group_of && self.weight_of == other.weight_of
    }
}

impl Eq for Hierarchy {}

impl Hierarchy {
    /// Groups and weights, both in the order in which texts show them.
    ///
    /// # Errors
    /// Where a server is in two groups or in a group and without a weight, or weights are
    /// negative or too large.
    pub fn new(
        groups: Vec<GroupLine>,
        weights: Vec<(ServerId, i64)>,
    ) -> Result<Hierarchy, MembershipError> {
        let weight_of: BTreeMap<ServerId, i64> = weights.iter().copied().collect();
        if weight_of.values().any(|weight| *weight < 0) {
            return Err(MembershipError::BadWeight);
        }
        let mut group_of = BTreeMap::new();
        let mut group_weights: BTreeMap<i64, i64> = BTreeMap::new();
        for line in &groups {
            for id in &line.servers {
                if group_of.insert(*id, line.group).is_some() {
                    return Err(MembershipError::InSeveralGroups(*id));
                }
                let weight = weight_of.get(id).ok_or(MembershipError::UnknownInGroup(*id))?;
                let sum = group_weights.entry(line.group).or_insert(0);
                *sum = sum.checked_add(*weight).ok_or(MembershipError::BadWeight)?;
            }
        }
        Ok(Hierarchy { groups, weights, group_of, weight_of, group_weights })
    }

    /// Groups as texts show them.
    pub fn groups(&self) -> impl Iterator<Item = (i64, &[ServerId])> {
        self.groups.iter().map(|line| (line.group, &line.servers[..]))
    }

    /// Weights as texts show them.
    pub fn weights(&self) -> impl Iterator<Item = (ServerId, i64)> {
        self.weights.iter().copied()
    }

    /// A server's weight, 0 for one without.
    pub fn weight(&self, id: ServerId) -> i64 {
        self.weight_of.get(&id).copied().unwrap_or(0)
    }

    /// Whether these servers, each once, are a quorum.
    pub fn contains_quorum(&self, servers: &[ServerId]) -> bool {
        let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
        for id in servers {
            if let Some(group) = self.group_of.get(id) {
                // Cannot overflow: the group's whole weight did not.
                *sums.entry(*group).or_insert(0) += self.weight(*id);
            }
        }
        let has_majority = |(group, sum): (&i64, &i64)| {
            self.group_weights.get(group).is_some_and(|weight| *sum > weight / 2)
        };
        let majorities = sums.iter().filter(|entry| has_majority(*entry)).count();
        let groups = self.group_weights.values().filter(|weight| **weight > 0).count();
        majorities > groups / 2
    }
}
