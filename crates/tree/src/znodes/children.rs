//! The children of one znode in the order in which they came.
//!
//! A child knows its position in the list, so that it is taken out without a search: its place
//! becomes a tombstone, and a list with more tombstones than children is compacted. Above 4,096
//! the list is cut into runs, each compacted by itself, so that no change moves more than one run,
//! which takes a fifth of a millisecond where every child is far from the cache. (One rare
//! exception: see [`Children::renumber`].)

use std::collections::VecDeque;

use super::NodeId;

/// Bits of an entry's place in its run; the others of its position are the run's number.
const PLACE_BITS: u32 = 12;
/// Entries of one run.
const RUN_LEN: usize = 1 << PLACE_BITS;
/// Numbers of runs wrap here.
const NUMBER_MASK: u32 = u32::MAX >> PLACE_BITS;
/// Lists shorter than this are not compacted.
const COMPACT_LEN_MIN: usize = 16;
/// A list that is cut into runs becomes one run again below this many children.
const ONE_LEN_MAX: usize = RUN_LEN / 4;
/// More runs than this are numbered anew if most of them are empty. Numbers allow 2^20.
const RUNS_MAX: usize = 1 << 18;
/// In the place of a child that was removed.
const TOMBSTONE: NodeId = NodeId(u32::MAX);

/// A part of the list.
#[derive(Debug, Default)]
struct Run {
    ids: Vec<NodeId>,
    live: usize,
}

/// A list longer than one run.
#[derive(Debug)]
struct Runs {
    /// The number of the first run; numbers wrap.
    first: u32,
    runs: VecDeque<Run>,
    live: usize,
}

/// The list.
#[derive(Debug)]
enum List {
    One(Run),
    Many(Box<Runs>),
}

/// The children of one znode.
#[derive(Debug)]
pub(super) struct Children {
    list: List,
}

impl Run {
    /// Takes the tombstones out.
    fn compact(&mut self, number: u32, moved: &mut impl FnMut(NodeId, u32)) {
        if self.live == self.ids.len() {
            return;
        }
        self.ids.retain(|id| *id != TOMBSTONE);
        if self.ids.capacity() > 4 * self.ids.len() {
            self.ids.shrink_to(2 * self.ids.len());
        }
        for (place, id) in self.ids.iter().enumerate() {
            moved(*id, position(number, place));
        }
    }

    fn remove(&mut self, number: u32, place: usize, moved: &mut impl FnMut(NodeId, u32)) {
        self.ids[place] = TOMBSTONE;
        self.live -= 1;
        while self.ids.last() == Some(&TOMBSTONE) {
            self.ids.pop();
        }
        if self.live == 0 {
            self.ids = Vec::new();
        } else if self.ids.len() >= COMPACT_LEN_MIN && self.live < self.ids.len() / 2 {
            self.compact(number, moved);
        }
    }

    /// Whether compacting it would make room for many more.
    fn is_worth_compacting(&self) -> bool {
        self.live <= self.ids.len() - self.ids.len() / 4
    }

    fn push(&mut self, number: u32, id: NodeId) -> u32 {
        self.ids.push(id);
        self.live += 1;
        position(number, self.ids.len() - 1)
    }

    fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.ids.iter().copied().filter(|id| *id != TOMBSTONE)
    }
}

impl Children {
    /// No children.
    pub(super) fn new() -> Self {
        Children { list: List::One(Run::default()) }
    }

    /// Children in this order; each is told its position.
    pub(super) fn from_ids(
        ids: impl IntoIterator<Item = NodeId>,
        moved: &mut impl FnMut(NodeId, u32),
    ) -> Self {
        let mut children = Children::new();
        for id in ids {
            let position = children.push(id, moved);
            moved(id, position);
        }
        children
    }

    /// How many children there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        match &self.list {
            List::One(run) => run.live,
            List::Many(runs) => runs.live,
        }
    }

    /// The children in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        let (one, many) = match &self.list {
            List::One(run) => (Some(run), None),
            List::Many(runs) => (None, Some(&runs.runs)),
        };
        one.into_iter().chain(many.into_iter().flatten()).flat_map(Run::iter)
    }

    /// Appends a child and returns its position. Children that get another position are told to
    /// `moved`.
    pub(super) fn push(&mut self, id: NodeId, moved: &mut impl FnMut(NodeId, u32)) -> u32 {
        if let List::One(run) = &mut self.list {
            if run.ids.len() == RUN_LEN && run.is_worth_compacting() {
                run.compact(0, moved);
            }
            if run.ids.len() < RUN_LEN {
                return run.push(0, id);
            }
            let (live, run) = (run.live, std::mem::take(run));
            let runs = Runs { first: 0, runs: VecDeque::from([run]), live };
            self.list = List::Many(Box::new(runs));
        }
        let List::Many(runs) = &mut self.list else { unreachable!("a full run was just cut off") };
        runs.push(id, moved)
    }

    /// Takes out the child at a position. Children that get another position are told to `moved`.
    pub(super) fn remove(&mut self, position: u32, moved: &mut impl FnMut(NodeId, u32)) {
        let (number, place) = (position >> PLACE_BITS, position as usize % RUN_LEN);
        match &mut self.list {
            List::One(run) => run.remove(0, place, moved),
            List::Many(runs) => {
                runs.remove(number, place, moved);
                let is_sparse = runs.runs.len() > RUNS_MAX.max(2 * runs.live / RUN_LEN);
                if runs.live < ONE_LEN_MAX || is_sparse {
                    self.renumber(moved);
                }
            }
        }
    }

    /// Makes the list anew: when a long list has become short, and when a list of mostly empty runs
    /// would run out of numbers, after 2^30 pushes.
    fn renumber(&mut self, moved: &mut impl FnMut(NodeId, u32)) {
        let ids: Vec<NodeId> = self.iter().collect();
        *self = Children::from_ids(ids, moved);
    }
}

impl Runs {
    fn push(&mut self, id: NodeId, moved: &mut impl FnMut(NodeId, u32)) -> u32 {
        let last = self.runs.len() - 1;
        let number = self.number(last);
        let run = &mut self.runs[last];
        self.live += 1;
        if run.ids.len() == RUN_LEN && run.is_worth_compacting() {
            run.compact(number, moved);
        }
        if run.ids.len() < RUN_LEN {
            return run.push(number, id);
        }
        self.runs.push_back(Run::default());
        let number = self.number(last + 1);
        self.runs[last + 1].push(number, id)
    }

    fn remove(&mut self, number: u32, place: usize, moved: &mut impl FnMut(NodeId, u32)) {
        let at = (number.wrapping_sub(self.first) & NUMBER_MASK) as usize;
        self.runs[at].remove(number, place, moved);
        self.live -= 1;
        while self.runs.len() > 1 && self.runs[0].live == 0 {
            self.runs.pop_front();
            self.first = (self.first + 1) & NUMBER_MASK;
        }
    }

    fn number(&self, at: usize) -> u32 {
        (self.first + at as u32) & NUMBER_MASK
    }
}

fn position(number: u32, place: usize) -> u32 {
    number << PLACE_BITS | place as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list beside the positions that its children were told, and a plain list to compare with.
    struct Fixture {
        children: Children,
        positions: std::collections::BTreeMap<NodeId, u32>,
        expected: Vec<NodeId>,
        next: u32,
        moves: usize,
        moves_max: usize,
    }

    impl Fixture {
        fn new() -> Self {
            Fixture {
                children: Children::new(),
                positions: Default::default(),
                expected: Vec::new(),
                next: 0,
                moves: 0,
                moves_max: 0,
            }
        }

        fn push(&mut self) {
            let id = NodeId(self.next);
            self.next += 1;
            let (positions, mut moves) = (&mut self.positions, 0);
            let position = self.children.push(id, &mut |id, position| {
                positions.insert(id, position);
                moves += 1;
            });
            self.positions.insert(id, position);
            self.expected.push(id);
            self.count(moves);
        }

        fn remove(&mut self, id: NodeId) {
            let position = self.positions.remove(&id).expect("a child of the list");
            let (positions, mut moves) = (&mut self.positions, 0);
            self.children.remove(position, &mut |id, position| {
                positions.insert(id, position);
                moves += 1;
            });
            self.count(moves);
        }

        fn count(&mut self, moves: usize) {
            self.moves += moves;
            self.moves_max = self.moves_max.max(moves);
        }

        fn check(&mut self) {
            let positions = &self.positions;
            self.expected.retain(|id| positions.contains_key(id));
            assert_eq!(self.children.len(), self.expected.len());
            assert!(self.children.iter().eq(self.expected.iter().copied()));
        }
    }

    #[test]
    fn a_queue_of_any_length_stays_in_order() {
        for len in [1, 3, 100, 5_000, 70_000] {
            let mut fixture = Fixture::new();
            for _ in 0..len {
                fixture.push();
            }
            for turn in 0..3 * len.min(100_000) {
                fixture.remove(NodeId(turn));
                fixture.push();
            }
            fixture.check();
            assert!(fixture.moves_max <= RUN_LEN);
            assert!(fixture.moves <= 4 * fixture.next as usize, "{} moves", fixture.moves);
            if let List::Many(runs) = &fixture.children.list {
                let needed = len as usize / RUN_LEN;
                assert!(runs.runs.len() <= 2 * needed + 3, "{} runs", runs.runs.len());
            }
        }
    }

    #[test]
    fn removals_in_any_order_leave_the_rest_in_order() {
        for stride in [1u32, 7, 32_771] {
            let mut fixture = Fixture::new();
            for _ in 0..50_000 {
                fixture.push();
            }
            for turn in 0..50_000u32 {
                fixture.remove(NodeId((u64::from(turn) * u64::from(stride) % 50_000) as u32));
                if turn % 10_000 == 0 {
                    fixture.push();
                    fixture.check();
                }
            }
            fixture.check();
            assert_eq!(fixture.children.len(), 5);
            assert!(matches!(fixture.children.list, List::One(_)));
            assert!(fixture.moves <= 200_000, "{} moves", fixture.moves);
        }
    }

    #[test]
    fn a_few_old_children_do_not_use_up_the_numbers() {
        let mut fixture = Fixture::new();
        for _ in 0..3 * RUN_LEN {
            fixture.push();
        }
        if let List::Many(runs) = &mut fixture.children.list {
            // As after many runs came and went behind the first ones.
            while runs.runs.len() <= RUNS_MAX {
                runs.runs.push_back(Run::default());
            }
        }
        fixture.remove(NodeId(5));
        fixture.push();
        fixture.check();
        assert!(matches!(&fixture.children.list, List::Many(runs) if runs.runs.len() <= 4));
    }

    #[test]
    fn a_list_made_anew_tells_every_child_its_position() {
        let mut fixture = Fixture::new();
        for _ in 0..70_000 {
            fixture.push();
        }
        let positions = &mut fixture.positions;
        let moved = &mut |id, position| {
            positions.insert(id, position);
        };
        let reversed: Vec<NodeId> = fixture.expected.iter().rev().copied().collect();
        fixture.children = Children::from_ids(reversed, moved);
        fixture.expected.reverse();
        fixture.check();
        fixture.remove(NodeId(69_999));
        fixture.remove(NodeId(0));
        fixture.check();
    }
}
