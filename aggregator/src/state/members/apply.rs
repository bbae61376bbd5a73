//! The commands about replicas, and the leaves that say whose cosignatures count.

use proofmark_evidence::{Hash, KeyChangeKind};

use super::super::effect::Effect;
use super::super::{Applied, State};
use super::Invite;
use crate::command::{COMMANDS_WITH_MEMBERS, Command, NodeHost, NodeName, Refusal, Reply};
use crate::consensus::membership::{Membership, MembershipChange};

impl State {
    /// The command inside a change of Raft's membership. `None`: the state refused it, and Raft
    /// must not take it either.
    pub fn apply_change(
        &mut self,
        index: u64,
        stamped_at_ms: u64,
        command: &Command,
    ) -> (Vec<Effect>, Option<Membership>) {
        self.enter(index, stamped_at_ms);
        let applied = match command {
            Command::ChangeNodes { change } => self.change_nodes(change),
            _ => Err(Refusal::ChangeMisplaced),
        };
        debug_assert_eq!(self.check(), Ok(()), "after {}", command.slug());
        match applied {
            Ok(effects) => (effects, self.members.membership().cloned()),
            Err(refusal) => (vec![Effect::Reply(Reply::Refused(refusal))], None),
        }
    }

    /// Raft ended its joint phase.
    pub fn leave_joint(&mut self) -> Option<Membership> {
        self.members.leave_joint()
    }

    pub(in super::super) fn invite_node(
        &mut self,
        token_id: [u8; 16],
        secret_hash: Hash,
        name: &NodeName,
        replaces: Option<&NodeName>,
        expires_at_ms: u64,
    ) -> Applied {
        self.need_version(COMMANDS_WITH_MEMBERS)?;
        let invite = Invite { token_id, secret_hash, name, replaces, expires_at_ms };
        let id = self.members.invite(&invite, self.head.stamped_at_ms)?;
        Ok(vec![Effect::Reply(Reply::NodeInvited { id })])
    }

    pub(in super::super) fn join_node(
        &mut self,
        token_id: &[u8; 16],
        secret: &[u8; 16],
        name: &NodeName,
        host: &NodeHost,
    ) -> Applied {
        self.need_version(COMMANDS_WITH_MEMBERS)?;
        let id = self.members.join(token_id, secret, (name, host), self.head.stamped_at_ms)?;
        Ok(vec![Effect::Reply(Reply::NodeJoined { id })])
    }

    pub(in super::super) fn leave_node(&mut self, name: &NodeName) -> Applied {
        self.need_version(COMMANDS_WITH_MEMBERS)?;
        self.members.leave(name)?;
        Ok(vec![Effect::Reply(Reply::Done)])
    }

    /// Who gets a vote cosigns from here on; who loses it, no more.
    fn change_nodes(&mut self, change: &MembershipChange) -> Applied {
        if self.genesis().is_none() {
            return Err(Refusal::NotInitialised);
        }
        self.need_version(COMMANDS_WITH_MEMBERS)?;
        let before = self.members.membership().cloned().unwrap_or_default();
        let after = self.members.take_change(change).ok_or(Refusal::ChangeNotDue)?;
        let mut effects = Vec::new();
        for id in after.voters.difference(&before.voters) {
            effects.push(self.cosigner_joins(*id));
        }
        for id in before.voters.difference(&after.voters) {
            effects.push(self.cosigner_leaves(*id));
        }
        effects.push(Effect::Reply(Reply::Done));
        Ok(effects)
    }

    fn cosigner_joins(&mut self, id: u64) -> Effect {
        let member = self.members.get(id).expect("a voter is a member");
        let host = member.host.as_ref().expect("a voter has joined");
        let node = self.log().cosigner_name(&member.name);
        self.change_cosigners(KeyChangeKind::NodeJoin { node, key: host.key })
    }

    fn cosigner_leaves(&mut self, id: u64) -> Effect {
        let member = self.members.get(id).expect("who voted is a member");
        let node = self.log().cosigner_name(&member.name);
        self.change_cosigners(KeyChangeKind::NodeLeave { node })
    }

    fn change_cosigners(&mut self, change: KeyChangeKind) -> Effect {
        self.seals.cosigners_change(self.head.leaf_count, &change);
        let leaf = self.log().key_change(self.head.stamped_at_ms, change);
        self.append(leaf, std::sync::Arc::from([]))
    }
}
