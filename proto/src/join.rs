//! The join token as a person carries it from an operator's terminal to a new agent.
//!
//! `pm1.` + base64url without padding of { id 16 | secret 16 | SHA-256 of the agent-side CA
//! certificate's DER 32 }, then optionally `@` and a comma-separated list of host:port.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::limits::{TOKEN_ADDRESS_BYTES_MAX, TOKEN_ADDRESSES_MAX};

use crate::JoinNodeRequest;

const PREFIX: &str = "pm1.";
const NODE_PREFIX: &str = "pmn1.";

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
    #[error("expected a node's token starting with \"pmn1.\", got another text")]
    NodePrefix,
    #[error("expected base64url after the dot, got a character outside its alphabet")]
    Base64,
    #[error("expected 64 bytes in the join token, got {got}: was it cut when copied?")]
    Length { got: usize },
    #[error("expected 96 bytes in the node's token, got {got}: was it cut when copied?")]
    NodeLength { got: usize },
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

/// Right to add one replica, once, to the cluster whose CA and log it names. As text: `pmn1.`, then
/// as a [`JoinToken`], with the log's id as 32 bytes more.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeToken {
    pub join: JoinToken,
    /// SHA-256 of the log's origin line.
    pub log_id: [u8; 32],
}

impl FromStr for NodeToken {
    type Err = TokenFault;

    fn from_str(text: &str) -> Result<NodeToken, TokenFault> {
        let rest = text.trim().strip_prefix(NODE_PREFIX).ok_or(TokenFault::NodePrefix)?;
        let (body, addresses) = rest.split_once('@').unwrap_or((rest, ""));
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| TokenFault::Base64)?;
        let length = || TokenFault::NodeLength { got: bytes.len() };
        let (of_join, log_id) = bytes.split_last_chunk::<32>().ok_or_else(length)?;
        let (id, secret, ca_sha256) = split(of_join).ok_or_else(length)?;
        let join = JoinToken { id, secret, ca_sha256, addresses: parse_addresses(addresses)? };
        Ok(NodeToken { join, log_id: *log_id })
    }
}

impl fmt::Display for NodeToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JoinToken { id, secret, ca_sha256, addresses } = &self.join;
        let bytes = [&id[..], secret, ca_sha256, &self.log_id].concat();
        write!(out, "{NODE_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))?;
        match addresses.is_empty() {
            true => Ok(()),
            false => write!(out, "@{}", addresses.join(",")),
        }
    }
}

/// Shows the id, never the secret.
impl fmt::Debug for NodeToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "NodeToken({})", URL_SAFE_NO_PAD.encode(self.join.id))
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
    statement(b"proofmark.v1 enrol\0", &[token_id, agent.as_bytes(), public_key, csr_der])
}

/// The bytes a joining replica signs with its new cosigner key: the same for a node's token, with
/// everything else that the request asks for.
pub fn node_possession_statement(request: &JoinNodeRequest) -> Vec<u8> {
    let parts: [&[u8]; 8] = [
        &request.token_id,
        request.name.as_bytes(),
        &request.log_id,
        &request.cosigner_key,
        &request.peer_csr_der,
        &request.gateway_csr_der,
        request.grpc.as_bytes(),
        request.peers.as_bytes(),
    ];
    statement(b"proofmark.v1 join\0", &parts)
}

fn statement(what: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut statement = what.to_vec();
    for part in parts {
        // Lengths first, or two requests could share one statement.
        statement.extend((part.len() as u64).to_be_bytes());
        statement.extend(*part);
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
    fn a_nodes_token_is_text_and_back_and_no_agents() {
        let node = NodeToken { join: token(&["a.example:1"]), log_id: [4; 32] };
        assert_eq!(node.to_string().parse(), Ok(node.clone()));
        let agents = node.join.to_string();
        let check = |text: &str, fault| assert_eq!(text.parse::<NodeToken>(), Err(fault), "{text}");
        check(&agents, TokenFault::NodePrefix);
        check(&agents.replace("pm1.", "pmn1."), TokenFault::NodeLength { got: 64 });
        assert_eq!(node.to_string().parse::<JoinToken>(), Err(TokenFault::Prefix));
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
