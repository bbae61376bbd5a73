//! `proofmark help TOPIC`: tables made from the code, so that they cannot go stale.

use proofmark_evidence::{FailReason, UnknownReason};

use crate::args::Topic;
use crate::exit::{self, Done, Exit};

pub fn print(topic: Topic) -> Done {
    match topic {
        Topic::ExitCodes => print!("{}", exit::table()),
        Topic::Reasons => print!("{}", reasons()),
    }
    Ok(Exit::Ok)
}

fn reasons() -> String {
    let fail = FailReason::ALL.iter().map(|reason| format!("fail     {}\n", reason.slug()));
    let unknown = UnknownReason::ALL.iter().map(|reason| format!("unknown  {}\n", reason.slug()));
    std::iter::once("state    slug\n".to_owned()).chain(fail).chain(unknown).collect()
}
