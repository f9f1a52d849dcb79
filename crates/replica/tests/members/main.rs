//! Three and five members in one process: they elect, write through whoever is asked, lose their
//! leader, are parted, come back by DIFF, TRUNC and SNAP, and end in one state.

mod client;
mod disk;
mod faults;
mod flood;
mod known_bugs;
mod masters;
mod network;
mod reconfiguration;
mod roles;
mod sessions;
mod unlogged;
mod world;
