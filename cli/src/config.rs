//! `proofmark config default`: the sample is the manual, and a test of each program parses it.

use crate::args::Program;
use crate::exit::{Done, Exit};

const AGENT: &str = include_str!("../../deploy/agent.yaml");
const AGGREGATOR: &str = include_str!("../../deploy/aggregator.yaml");

pub fn print_default(program: Program) -> Done {
    match program {
        Program::Agent => print!("{AGENT}"),
        Program::Aggregator => print!("{AGGREGATOR}"),
    }
    Ok(Exit::Ok)
}
