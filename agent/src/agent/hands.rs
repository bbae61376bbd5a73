//! Between the agent's core and the world: what the core is told, and what it asks for.

use crate::checks::Observation;
use crate::schedule::Due;
use crate::specs::SpecSet;
use crate::spool::{Order, Report, SpoolFault};
use crate::uplink::UplinkEvent;

/// What a core cannot do itself. None of it may wait.
pub trait Hands {
    /// Begins a run; its end comes back as [`Happened::RunEnded`].
    fn start_run(&mut self, due: Due);
    /// Those that still run end soon, as cancelled.
    fn cancel_runs(&mut self);
    /// Gives the spool an order. False when there is no spool any more.
    fn order(&mut self, order: Order) -> bool;
    /// Keeps specs for a start without an aggregator; durable when this returns.
    fn keep_specs(&mut self, specs: &SpecSet) -> Result<(), SpoolFault>;
}

/// The one thing that happened.
pub enum Happened {
    RunEnded(Due, Observation),
    Spool(Report),
    Uplink(UplinkEvent),
    StopAsked,
    /// Nothing but time has passed.
    Woke,
}
