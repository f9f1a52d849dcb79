//! The drivers around the pure cores: I/O threads, the disk thread, configuration and four-letter
//! words. No rule of the protocol or of the tree lives here.
//!
//! # Layout
//! * [`config`]: zoo.cfg, properties and arguments, read into one [`config::ServerConfig`]
//! * [`fourletter`]: the answers of four-letter words, from plain facts
//! * [`process`]: what is told about the process around the server

pub mod config;
pub mod fourletter;
pub mod process;
