//! Rookeeper beside Apache ZooKeeper: both run as processes, on the same configuration, and get the
//! same bytes. This crate contains no part of a server and none of our crates: a mistake shared
//! with the code under test could not be seen.
//!
//! # Layout
//!
//! - [`wire`]: jute primitives, written apart from our codec
//! - [`request`]: requests as bytes, with words for reports
//! - [`decode`]: replies as canonical text
//! - [`connection`]: a raw blocking connection
//! - [`server`]: server processes, Java's and ours
//! - [`step`]: the steps of a scenario
//! - [`side`]: one server and the sessions on it
//! - [`random`], [`values`], [`operations`], [`generate`]: seeded scenarios
//! - [`script`]: scenarios written by hand
//! - [`oracle`]: two sides compared, and the minimiser

pub mod connection;
pub mod decode;
pub mod generate;
pub mod operations;
pub mod oracle;
pub mod random;
pub mod request;
pub mod script;
pub mod server;
pub mod side;
pub mod step;
pub mod values;
pub mod wire;
