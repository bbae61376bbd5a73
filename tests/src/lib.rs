//! Whole-system tests: what they share.
//!
//! In: the built binary, and the library rooms. Out: verdicts. Nothing here ships, and nothing
//! here never ends: every wait has a patience, every process an owner.

pub mod acks;
pub mod api;
pub mod bench;
pub mod chaos;
pub mod dice;
pub mod fuzz;
pub mod golden;
pub mod golden_data;
pub mod installation;
pub mod judge;
pub mod lossy;
pub mod power;
pub mod privilege;
pub mod program;
pub mod proxy;
pub mod push;
pub mod sim;
pub mod target;
pub mod wait;
pub mod workload;
