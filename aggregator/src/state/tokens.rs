//! Join tokens: one use each, only the hash of the secret kept.

use proofmark_evidence::{AgentName, ByteReader, ByteWriter, Hash, PublicKey, sha256};

use super::row::{Row, Table};
use crate::command::{
    COMMANDS_WITH_MEMBERS, CodecFault, Refusal, put_agent, put_agent_option, put_hash, put_key,
    take_agent, take_agent_option, take_hash, take_key,
};
use crate::limits::{TOKEN_KEPT_MS, TOKENS_MAX, TOKENS_MAX_BEFORE_MEMBERS};

/// One invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) secret_hash: Hash,
    /// Only this agent may use it.
    pub(super) agent: Option<AgentName>,
    pub(super) expires_at_ms: u64,
    pub(super) spent_by: Option<Spent>,
}

/// Who used a token. The same enrolment sent again is told the same epoch again. The epoch may have
/// begun by an earlier token: one life, however often its answer was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    pub(super) agent: AgentName,
    pub(super) key: PublicKey,
    pub(super) epoch: u64,
}

/// Whether a token opens the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenVerdict {
    /// Go on and enrol; then [`Tokens::spend`].
    Fresh,
    /// This very enrolment was done: a retry whose answer was lost.
    Repeated { epoch: u64 },
}

#[derive(Clone, Debug)]
pub(super) struct Tokens {
    table: Table<Token>,
}

impl Tokens {
    pub(super) fn new() -> Self {
        Self { table: Table::new() }
    }

    /// Remembers a new token. The same one again changes nothing. `version` is the cluster's.
    pub(super) fn create(
        &mut self,
        id: [u8; 16],
        token: Token,
        (now_ms, version): (u64, u64),
    ) -> Result<(), Refusal> {
        if let Some(known) = self.table.get(&id) {
            let is_same = Token { spent_by: None, ..known.clone() } == token;
            return if is_same { Ok(()) } else { Err(Refusal::TokenExists) };
        }
        let limit = match version {
            0..COMMANDS_WITH_MEMBERS => self.make_room_as_before(now_ms)?,
            _ => self.make_room(now_ms),
        };
        if self.table.len() >= limit {
            return Err(Refusal::TokensFull { limit: limit as u64 });
        }
        self.table.insert(id, token);
        Ok(())
    }

    /// What older programs do, for as long as one takes part: every replica must do the same. Full,
    /// they forget nothing.
    fn make_room_as_before(&mut self, now_ms: u64) -> Result<usize, Refusal> {
        let limit = TOKENS_MAX_BEFORE_MEMBERS;
        let kept = self.table.iter().filter(|(_, token)| token.is_kept(now_ms)).count();
        if kept >= limit {
            return Err(Refusal::TokensFull { limit: limit as u64 });
        }
        self.table.retain(|_, token| token.is_kept(now_ms));
        Ok(limit)
    }

    /// A spent token answers a retry of its enrolment; one that is forgotten for want of room is
    /// unknown to it, and its agent asks for another.
    fn make_room(&mut self, now_ms: u64) -> usize {
        self.table.retain(|_, token| token.is_kept(now_ms));
        if self.table.len() >= TOKENS_MAX {
            let spent = self.table.iter().filter(|(_, token)| token.spent_by.is_some());
            let first = spent.min_by_key(|(id, token)| (token.expires_at_ms, **id));
            let first = first.map(|(id, _)| *id);
            self.table.retain(|id, _| Some(*id) != first);
        }
        TOKENS_MAX
    }

    /// Judges a token shown by an agent. Changes nothing. A wrong secret is an unknown token.
    pub(super) fn judge(
        &self,
        id: &[u8; 16],
        secret: &[u8; 16],
        wanted: (&AgentName, &PublicKey),
        now_ms: u64,
    ) -> Result<TokenVerdict, Refusal> {
        let token = self.table.get(id).filter(|token| token.secret_hash == sha256(secret));
        let token = token.ok_or(Refusal::TokenUnknown)?;
        if let Some(spent) = &token.spent_by {
            return match (&spent.agent, &spent.key) == wanted {
                true => Ok(TokenVerdict::Repeated { epoch: spent.epoch }),
                false => Err(Refusal::TokenSpent),
            };
        }
        if now_ms >= token.expires_at_ms {
            return Err(Refusal::TokenExpired { expired_at_ms: token.expires_at_ms, now_ms });
        }
        match &token.agent {
            Some(expected) if expected != wanted.0 => Err(Refusal::TokenForOtherAgent {
                expected: expected.clone(),
                got: wanted.0.clone(),
            }),
            _ => Ok(TokenVerdict::Fresh),
        }
    }

    pub(super) fn spend(&mut self, id: &[u8; 16], spent: Spent) {
        let token = self.table.change(id).expect("judge found the token");
        token.spent_by = Some(spent);
    }

    pub(super) fn table(&mut self) -> &mut Table<Token> {
        &mut self.table
    }

    pub(super) fn rows(&self) -> &Table<Token> {
        &self.table
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match self.table.len() {
            count if count > TOKENS_MAX => Err(format!("{count} tokens")),
            _ => Ok(()),
        }
    }
}

impl Token {
    fn is_kept(&self, now_ms: u64) -> bool {
        now_ms < self.expires_at_ms.saturating_add(TOKEN_KEPT_MS)
    }
}

impl Row for Token {
    const TAG: u8 = b't';
    type Key = [u8; 16];

    fn put(&self, out: &mut ByteWriter) {
        put_hash(out, &self.secret_hash);
        put_agent_option(out, self.agent.as_ref());
        out.varint(self.expires_at_ms).bool(self.spent_by.is_some());
        if let Some(spent) = &self.spent_by {
            put_agent(out, &spent.agent);
            put_key(out, &spent.key);
            out.varint(spent.epoch);
        }
    }

    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        Ok(Self {
            secret_hash: take_hash(input, "secret hash")?,
            agent: take_agent_option(input)?,
            expires_at_ms: input.varint("expires at")?,
            spent_by: match input.bool("spent")? {
                true => Some(Spent::take(input)?),
                false => None,
            },
        })
    }
}

impl Spent {
    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        let (agent, key) = (take_agent(input)?, take_key(input)?);
        Ok(Self { agent, key, epoch: input.varint("epoch")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRES_MS: u64 = 1_000;

    fn id(n: u64) -> [u8; 16] {
        u128::from(n).to_be_bytes()
    }

    fn token(expires_at_ms: u64) -> Token {
        Token { secret_hash: sha256(b"secret"), agent: None, expires_at_ms, spent_by: None }
    }

    fn spend(tokens: &mut Tokens, n: u64) {
        let key = proofmark_evidence::SigningKey::from_seed([1; 32]).public();
        let agent = AgentName::parse("web-1").unwrap();
        tokens.spend(&id(n), Spent { agent, key, epoch: 1 });
    }

    fn full(version: u64) -> (Tokens, u64) {
        let mut tokens = Tokens::new();
        let create = |n: &u64| tokens.create(id(*n), token(EXPIRES_MS + n), (0, version)).is_ok();
        let count = (0..).take_while(create).count() as u64;
        (tokens, count)
    }

    #[test]
    fn a_whole_fleet_is_invited_at_once_once_every_replica_knows_how() {
        let check = |version, expect: usize| assert_eq!(full(version).1, expect as u64);
        check(1, TOKENS_MAX_BEFORE_MEMBERS);
        check(COMMANDS_WITH_MEMBERS, TOKENS_MAX);
    }

    #[test]
    fn the_spent_one_that_expires_first_makes_room() {
        let (mut tokens, count) = full(COMMANDS_WITH_MEMBERS);
        let now = (0, COMMANDS_WITH_MEMBERS);
        spend(&mut tokens, 7);
        spend(&mut tokens, 5);
        for (next, forgotten) in [(count, 5), (count + 1, 7)] {
            assert_eq!(tokens.create(id(next), token(EXPIRES_MS), now), Ok(()));
            assert!(tokens.table.get(&id(forgotten)).is_none(), "{forgotten}");
        }
        let limit = TOKENS_MAX as u64;
        let refused = tokens.create(id(count + 2), token(EXPIRES_MS), now);
        assert_eq!(refused, Err(Refusal::TokensFull { limit }), "all are open");
        assert_eq!(tokens.table.len(), TOKENS_MAX);
        let later = (EXPIRES_MS + TOKEN_KEPT_MS + limit * 2, COMMANDS_WITH_MEMBERS);
        assert_eq!(tokens.create(id(count + 2), token(u64::MAX), later), Ok(()));
        assert_eq!(tokens.table.len(), 1, "nobody asks for the others any more");
    }
}
