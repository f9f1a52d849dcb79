//! A leader, its learners, and observers behind a follower, wired to one another: all machines of
//! the quorum port at once, over connections that deliver in any pieces and break at any time,
//! above disks that are slow.

mod disk;
mod master;
mod world;

use rookeeper_jute::Zxid;

use world::World;

#[test]
fn everybody_ends_with_what_the_leader_committed() {
    let mut totals = world::Totals::default();
    for seed in 0..40 {
        let mut world = World::new(seed);
        world.run(3000);
        world.settle();
        world.check_end();
        totals.add(&world.totals);
    }
    // Runs in which little happened would show nothing.
    assert!(totals.proposals > 3_000, "{totals:?}");
    assert!(totals.breaks > 150 && totals.snapshots > 20 && totals.truncations > 3, "{totals:?}");
    assert!(totals.syncs > 200 && totals.revalidations > 50, "{totals:?}");
}

#[test]
fn an_observer_behind_a_follower_is_served_without_the_leader() {
    let mut world = World::new(7);
    world.faults = false;
    world.run(2000);
    world.settle();
    assert_eq!(world.observers_of_the_master(), 2);
    assert_eq!(world.learners_of_the_leader(), 3, "two followers and one observer");
    assert!(world.committed(4) > Zxid::new(2, 1));
    world.check_end();
}
