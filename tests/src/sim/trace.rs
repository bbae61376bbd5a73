//! A run's fingerprint: equal traces, equal runs.

use proofmark_evidence::{Hash, sha256, sha256_parts};

use super::world::Event;

/// Hashes every event; keeps the lines too when asked, for `--trace`.
pub(super) struct Trace {
    hash: Hash,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(keep_lines: bool) -> Self {
        Self { hash: Hash::ZERO, lines: keep_lines.then(Vec::new) }
    }

    pub(super) fn event(&mut self, at_ms: u64, event: &Event) {
        let line = format!("{at_ms:>8} {}", show(event));
        self.hash = sha256_parts(&[&self.hash.0, line.as_bytes()]);
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    pub(super) fn hash(&self) -> Hash {
        self.hash
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}

fn show(event: &Event) -> String {
    match event {
        Event::Tick { node, .. } => format!("tick n{}", node + 1),
        Event::Deliver { message: m } => format!(
            "n{} -> n{} {:?} term={} log={}/{} commit={} entries={} reject={}",
            m.from,
            m.to,
            m.msg_type,
            m.term,
            m.log_term,
            m.index,
            m.commit,
            m.entries.len(),
            m.reject
        ),
        Event::Flushed { node, .. } => format!("flushed n{}", node + 1),
        Event::Apply { node, .. } => format!("apply n{}", node + 1),
        Event::Save { node } => format!("save n{}", node + 1),
        Event::Request { node, request } => format!(
            "request n{} client={:?} number={} {}",
            node + 1,
            request.client,
            request.number,
            sha256(&request.command)
        ),
        Event::Answer { client, number, outcome } => {
            format!("answer client={client} number={number} {outcome:?}")
        }
        Event::Wake { client } => format!("wake client={client}"),
        Event::Restart { node } => format!("restart n{}", node + 1),
        Event::Nemesis => "nemesis".to_owned(),
    }
}
