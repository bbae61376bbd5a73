//! Admission: is this batch what it says, from whom it says, and possible now?
//!
//! In:  the bytes of a batch, who is connected, what the replicated state last said of that agent,
//! and the time.   Out: an [`Admitted`] batch, or an [`AdmissionFault`] that says who must act.
//!
//! Pure and stateless: anything that depends on what was accepted before (gap, repeat, fork,
//! retired a moment ago) is decided again, and finally, in `state`, where every replica decides
//! alike. What is refused here costs no Raft entry.

mod admit;
mod fault;
mod workers;

#[cfg(test)]
mod tests;

pub use admit::{Admitted, Standing, admit};
pub use fault::{AdmissionFault, FaultAction};
pub use workers::AdmissionWorkers;
