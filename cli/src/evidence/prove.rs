//! `evidence prove`: the proof file of one result, from a log's files alone.

use std::path::Path;

use proofmark_evidence::{Header, LogReader, ResultId, prove_result};

use super::source::Source;
use crate::exit::{Done, Exit, Failure};

pub fn run(result: &str, log: &str, output: Option<&Path>) -> Done {
    let id: ResultId = result.parse().map_err(Failure::because(Exit::Usage))?;
    let reader = LogReader::open(Source::open(log)?).map_err(unreadable)?;
    let leaf_index = find(&reader, &id)?;
    let proof = prove_result(&reader, &id, leaf_index)
        .map_err(|why| Failure::new(Exit::Evidence, format!("{}: {why}", why.slug())))?;
    match output {
        None => print!("{}", proof.to_text()),
        Some(path) => std::fs::write(path, proof.to_text())
            .map_err(|why| Failure::new(Exit::Storage, format!("{}: {why}", path.display())))?,
    }
    Ok(Exit::Ok)
}

/// Reads the log from its start: no index is trusted, and none is needed.
fn find(reader: &LogReader, id: &ResultId) -> Result<u64, Failure> {
    for published in reader.leaves(0..reader.size()) {
        let published = published.map_err(unreadable)?;
        let Ok(Header::Batch(batch)) = published.leaf.header() else { continue };
        let holds = batch.agent == id.agent
            && batch.epoch == id.epoch
            && (batch.seq_first..batch.seq_end()).contains(&id.seq);
        if holds {
            return Ok(published.index);
        }
    }
    let message =
        format!("{id}: expected a published result, got none in {} leaves", reader.size());
    Err(Failure::new(Exit::Evidence, message))
}

fn unreadable(why: proofmark_evidence::ReaderFault) -> Failure {
    Failure::new(Exit::Evidence, format!("{}: {why}", why.slug()))
}
