//! The formats of FORMATS.md: golden bytes, round trips, and what is refused.

#![expect(clippy::unwrap_used, reason = "a sample that cannot be made fails its test")]

#[path = "formats/damage.rs"]
mod damage;
#[path = "formats/document.rs"]
mod document;
#[path = "formats/golden.rs"]
mod golden;
#[path = "formats/round_trip.rs"]
mod round_trip;
#[path = "formats/samples.rs"]
mod samples;
