//! From text to policy, line by line; each line may only name what stands above it.

use super::*;

pub(super) fn policy(text: &str) -> Result<Policy, PolicyTextFault> {
    let lines = text.strip_suffix('\n').ok_or(PolicyTextFault::NotLines)?;
    if text.len() > POLICY_BYTES_MAX || lines.split('\n').count() > POLICY_LINES_COUNT_MAX {
        return Err(PolicyTextFault::TooLarge);
    }
    if text.bytes().any(|byte| (byte < b' ' && byte != b'\n' && byte != b'\t') || byte == 127) {
        return Err(PolicyTextFault::NotLines);
    }
    let mut draft = Draft::default();
    for (line, text) in (1..).zip(lines.split('\n')) {
        draft.line(line, text)?;
    }
    draft.finish()
}

#[derive(Default)]
struct Draft {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorums: Vec<Option<String>>,
}

impl Draft {
    fn line(&mut self, line: usize, text: &str) -> Result<(), PolicyTextFault> {
        let words: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match *words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", key] => self.log(line, key, None),
            ["log", key, url] => self.log(line, key, Some(url)),
            ["witness", name, key] => self.witness(line, name, key, None),
            ["witness", name, key, url] => self.witness(line, name, key, Some(url)),
            ["group", name, threshold, ref members @ ..] if !members.is_empty() => {
                self.group(line, name, threshold, members)
            }
            ["quorum", name] => self.quorum(line, name),
            _ => Err(PolicyTextFault::Line { line, got: text.chars().take(80).collect() }),
        }
    }

    fn log(&mut self, line: usize, key: &str, url: Option<&str>) -> Result<(), PolicyTextFault> {
        let key = self.key(line, key, SignatureType::Ed25519, "log (0x01)")?;
        self.logs.push(Log { key, url: url.map(str::to_owned) });
        Ok(())
    }

    fn witness(
        &mut self,
        line: usize,
        name: &str,
        key: &str,
        url: Option<&str>,
    ) -> Result<(), PolicyTextFault> {
        self.new_name(line, name)?;
        let key = self.key(line, key, SignatureType::CosignatureV1, "cosignature (0x04)")?;
        let (name, url) = (name.to_owned(), url.map(str::to_owned));
        self.witnesses.push(Witness { name, key, url });
        Ok(())
    }

    fn group(
        &mut self,
        line: usize,
        name: &str,
        threshold: &str,
        members: &[&str],
    ) -> Result<(), PolicyTextFault> {
        self.new_name(line, name)?;
        for (place, member) in members.iter().enumerate() {
            let is_free = !self.is_member(member) && !members[..place].contains(member);
            if !self.is_defined(member) || !is_free {
                return Err(PolicyTextFault::Member { line, got: (*member).to_owned() });
            }
        }
        let threshold = parse_threshold(line, threshold, members.len())?;
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        self.groups.push(Group { name: name.to_owned(), threshold, members });
        Ok(())
    }

    fn quorum(&mut self, line: usize, name: &str) -> Result<(), PolicyTextFault> {
        if name == "none" {
            self.quorums.push(None);
            return Ok(());
        }
        if !self.is_defined(name) {
            return Err(PolicyTextFault::Member { line, got: name.to_owned() });
        }
        self.quorums.push(Some(name.to_owned()));
        Ok(())
    }

    fn finish(mut self) -> Result<Policy, PolicyTextFault> {
        let got = self.quorums.len();
        let (Some(quorum), 1) = (self.quorums.pop(), got) else {
            return Err(PolicyTextFault::Quorum { got });
        };
        let Draft { logs, witnesses, groups, .. } = self;
        Ok(Policy { logs, witnesses, groups, quorum })
    }

    /// A cosigner's name is not signed, so a key under two names would count twice.
    fn key(
        &self,
        line: usize,
        text: &str,
        kind: SignatureType,
        expected: &'static str,
    ) -> Result<VerifierKey, PolicyTextFault> {
        let key = VerifierKey::parse(text).map_err(key_fault(line))?;
        if key.kind() != kind {
            return Err(PolicyTextFault::KeyType { line, expected });
        }
        let logs = self.logs.iter().map(|log| &log.key);
        let witnesses = self.witnesses.iter().map(|witness| &witness.key);
        let is_same = |known: &VerifierKey| known.kind() == kind && known.key() == key.key();
        if logs.chain(witnesses).any(is_same) {
            return Err(PolicyTextFault::Duplicate { line, got: text.to_owned() });
        }
        Ok(key)
    }

    fn new_name(&self, line: usize, name: &str) -> Result<(), PolicyTextFault> {
        if name == "none" || self.is_defined(name) {
            return Err(PolicyTextFault::Duplicate { line, got: name.to_owned() });
        }
        Ok(())
    }

    fn is_defined(&self, name: &str) -> bool {
        self.witnesses.iter().any(|witness| witness.name == name)
            || self.groups.iter().any(|group| group.name == name)
    }

    fn is_member(&self, name: &str) -> bool {
        self.groups.iter().any(|group| group.members.iter().any(|member| member == name))
    }
}

fn parse_threshold(line: usize, text: &str, members: usize) -> Result<usize, PolicyTextFault> {
    let threshold = match text {
        "all" => Some(members),
        "any" => Some(1),
        digits => digits.parse().ok().filter(|number: &usize| number.to_string() == digits),
    };
    threshold.filter(|number| (1..=members).contains(number)).ok_or_else(|| {
        PolicyTextFault::Threshold { line, members, got: text.chars().take(20).collect() }
    })
}
