//! Rookeeper beside Apache ZooKeeper: both run as processes, on the same configuration, and get the
//! same bytes. This crate contains no part of a server and none of our crates: a mistake shared
//! with the code under test could not be seen.
//!
//! Compared is everything that comes back, but for: times (they must be plausible), session ids
//! (each is named by its index; passwords must be what Java derives from the id), the order of
//! children, of ephemerals and of the events of one closed session (Java's is a hash set's), and
//! the order of identities that `auth` expands to.
//!
//! # What is not asked, and why
//!
//! - What Java's server does not survive: garbage in a quota's statistics, createTTL with other
//!   flags and a negative time to live.
//! - What depends on timing in Java: requests pipelined behind a setACL (its pending change keeps
//!   the old list), behind an authentication, behind a multi that fails outside Java's own
//!   checks, behind anything that closes the connection; hard quotas under pipelining; nested
//!   quotas across restarts.
//! - createSession from a client (Java answers with a second connect response) and SASL.
//!
//! # Where we differ on purpose
//!
//! - Persistent watches of the null path: Java keeps them, we answer MarshallingError.
//! - A multiRead that fails as a whole: Java sends the results before the mistake behind the error,
//!   where no client looks.
//! - Characters beyond U+FFFF: Java writes two surrogates of three bytes, which is not UTF-8; we
//!   write UTF-8.
//! - A write that cannot be decoded: Java logs an error transaction under the zxid of the one
//!   before; we log nothing. Clients see the same.
//!
//! # Environment
//!
//! - `JAVA=no`: nothing is compared; every test says so
//! - `ROOKEEPER_BIN`: our binary; else cargo builds it
//! - `ROOKEEPER_TOOLS`: where `scripts/java-zookeeper.sh` keeps Java's
//! - `INTEROP_OTHER=java`: a second Java server in the place of ours, which proves the tests
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
//! - [`ensemble`]: members of both kinds in one ensemble, load, faults

pub mod connection;
pub mod decode;
pub mod ensemble;
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
