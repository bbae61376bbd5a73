//! Join tokens: one use each, only the hash of the secret kept.

use proofmark_evidence::{AgentName, ByteReader, ByteWriter, Hash, PublicKey, sha256};

use super::row::{Row, Table};
use crate::command::{
    CodecFault, Refusal, put_agent, put_agent_option, put_hash, put_key, take_agent,
    take_agent_option, take_hash, take_key,
};
use crate::limits::{TOKEN_KEPT_MS, TOKENS_MAX};

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

    /// Remembers a new token. The same one again changes nothing.
    pub(super) fn create(&mut self, id: [u8; 16], token: Token, now: u64) -> Result<(), Refusal> {
        if let Some(known) = self.table.get(&id) {
            let is_same = Token { spent_by: None, ..known.clone() } == token;
            return if is_same { Ok(()) } else { Err(Refusal::TokenExists) };
        }
        let is_kept = |token: &Token| now < token.expires_at_ms.saturating_add(TOKEN_KEPT_MS);
        let kept = self.table.iter().filter(|(_, token)| is_kept(token)).count();
        if kept >= TOKENS_MAX {
            return Err(Refusal::TokensFull { limit: TOKENS_MAX as u64 });
        }
        self.table.retain(|_, token| is_kept(token));
        self.table.insert(id, token);
        Ok(())
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
