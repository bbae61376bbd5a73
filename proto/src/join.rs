//! The join token as a person carries it from an operator's terminal to a new agent.
//!
//! `pm1.` + base64url without padding of { id 16 | secret 16 | SHA-256 of the agent-side CA
//! certificate's DER 32 }, then optionally `@` and a comma-separated list of host:port.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::limits::{TOKEN_ADDRESS_BYTES_MAX, TOKEN_ADDRESSES_MAX};

const PREFIX: &str = "pm1.";

/// Right to enrol one agent, once, at the cluster whose CA it pins.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Says which token; not secret.
    pub id: [u8; 16],
    /// Whoever has it may enrol. The cluster stores only its SHA-256.
    pub secret: [u8; 16],
    /// SHA-256 of the DER of the CA certificate that must stand in the server's chain.
    pub ca_sha256: [u8; 32],
    /// Where to enrol, host:port; may be empty when the agent's config says it.
    pub addresses: Vec<String>,
}

/// Why a text is no join token. For the person who pasted it. Never shows the text itself.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenFault {
    #[error("expected a join token starting with \"pm1.\", got another text")]
    Prefix,
    #[error("expected base64url after \"pm1.\", got a character outside its alphabet")]
    Base64,
    #[error("expected 64 bytes in the join token, got {got}: was it cut when copied?")]
    Length { got: usize },
    #[error("expected at most 8 addresses host:port after '@', got {got:?}")]
    Address { got: String },
}

impl FromStr for JoinToken {
    type Err = TokenFault;

    fn from_str(text: &str) -> Result<JoinToken, TokenFault> {
        let rest = text.trim().strip_prefix(PREFIX).ok_or(TokenFault::Prefix)?;
        let (body, addresses) = rest.split_once('@').unwrap_or((rest, ""));
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| TokenFault::Base64)?;
        let (id, secret, ca_sha256) =
            split(&bytes).ok_or(TokenFault::Length { got: bytes.len() })?;
        Ok(JoinToken { id, secret, ca_sha256, addresses: parse_addresses(addresses)? })
    }
}

fn split(bytes: &[u8]) -> Option<([u8; 16], [u8; 16], [u8; 32])> {
    let (id, rest) = bytes.split_first_chunk::<16>()?;
    let (secret, rest) = rest.split_first_chunk::<16>()?;
    Some((*id, *secret, rest.try_into().ok()?))
}

fn parse_addresses(list: &str) -> Result<Vec<String>, TokenFault> {
    let addresses: Vec<String> =
        list.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    match addresses.iter().find(|address| !is_address(address)) {
        Some(wrong) => Err(TokenFault::Address { got: wrong.clone() }),
        None if addresses.len() > TOKEN_ADDRESSES_MAX => {
            Err(TokenFault::Address { got: list.into() })
        }
        None => Ok(addresses),
    }
}

fn is_address(text: &str) -> bool {
    let port = text.rsplit_once(':').map(|(host, port)| (!host.is_empty(), port.parse::<u16>()));
    text.len() <= TOKEN_ADDRESS_BYTES_MAX && matches!(port, Some((true, Ok(_))))
}

impl fmt::Display for JoinToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id[..], &self.secret, &self.ca_sha256].concat();
        write!(out, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))?;
        match self.addresses.is_empty() {
            true => Ok(()),
            false => write!(out, "@{}", self.addresses.join(",")),
        }
    }
}

/// Shows the id, never the secret.
impl fmt::Debug for JoinToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "JoinToken({})", URL_SAFE_NO_PAD.encode(self.id))
    }
}

/// The bytes an enrolling agent signs with its new Ed25519 key: proves it holds the key, and binds
/// the key to this one token, this name and this TLS key, so that no part can be swapped.
pub fn possession_statement(
    token_id: &[u8],
    agent: &str,
    public_key: &[u8],
    csr_der: &[u8],
) -> Vec<u8> {
    let mut statement = b"proofmark.v1 enrol\0".to_vec();
    for part in [token_id, agent.as_bytes(), public_key, csr_der] {
        // Lengths first, or two requests could share one statement.
        statement.extend((part.len() as u64).to_be_bytes());
        statement.extend(part);
    }
    statement
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(addresses: &[&str]) -> JoinToken {
        let addresses = addresses.iter().map(|a| a.to_string()).collect();
        JoinToken { id: [1; 16], secret: [2; 16], ca_sha256: [3; 32], addresses }
    }

    #[test]
    fn text_and_back() {
        for addresses in [&[][..], &["127.0.0.1:7681"], &["a.example:1", "[::1]:2"]] {
            let token = token(addresses);
            assert_eq!(token.to_string().parse(), Ok(token));
        }
    }

    #[test]
    fn refused_texts() {
        let good = token(&[]).to_string();
        let check = |text: &str, fault| assert_eq!(text.parse::<JoinToken>(), Err(fault), "{text}");
        check("", TokenFault::Prefix);
        check("pm2.AAAA", TokenFault::Prefix);
        check("pm1.not+base64", TokenFault::Base64);
        check("pm1.AAAA", TokenFault::Length { got: 3 });
        check(&format!("{good}AAAA"), TokenFault::Length { got: 67 });
        check(&format!("{good}@nowhere"), TokenFault::Address { got: "nowhere".into() });
        check(&format!("{good}@:1"), TokenFault::Address { got: ":1".into() });
        check(&format!("{good}@a:99999"), TokenFault::Address { got: "a:99999".into() });
    }

    #[test]
    fn debug_hides_the_secret() {
        let shown = format!("{:?}", token(&[]));
        assert!(!shown.contains(&URL_SAFE_NO_PAD.encode([2; 16])), "{shown}");
    }

    #[test]
    fn statements_of_different_requests_differ() {
        let one = possession_statement(b"ab", "c", b"", b"");
        let two = possession_statement(b"a", "bc", b"", b"");
        assert_ne!(one, two);
    }
}
