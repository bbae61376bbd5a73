//! Who is at the other end of a connection, read from the certificate TLS has verified.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use proofmark_evidence::AgentName;
use proofmark_proto::{AGENT_URI, NODE_URI, OPERATOR_URI};

use super::fault::IdentityFault;

/// What a caller may do follows from this alone. Each RPC says which role it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// No certificate: may enrol, nothing else.
    Stranger,
    Agent(AgentName),
    Operator(String),
    /// A node of the cluster, by its raft id. Only certificates of the peer CA say this.
    Node(u64),
}

impl Role {
    /// The role in the first certificate's SAN URI. TLS has verified the chain already.
    pub fn of(certificates: Option<&[CertificateDer<'_>]>) -> Result<Role, IdentityFault> {
        let Some(leaf) = certificates.and_then(|chain| chain.first()) else {
            return Ok(Role::Stranger);
        };
        let (_, certificate) =
            X509Certificate::from_der(leaf).map_err(|fault| unknown_caller(fault.to_string()))?;
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map_or(&[][..], |extension| &extension.value.general_names);
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        match (uris.next(), uris.next()) {
            (Some(uri), None) => Role::from_uri(uri),
            (first, _) => Err(unknown_caller(format!("{first:?} and more or fewer names"))),
        }
    }

    fn from_uri(uri: &str) -> Result<Role, IdentityFault> {
        let role = if let Some(name) = uri.strip_prefix(AGENT_URI) {
            AgentName::parse(name).ok().map(Role::Agent)
        } else if let Some(name) = uri.strip_prefix(OPERATOR_URI) {
            Some(Role::Operator(name.to_owned()))
        } else if let Some(id) = uri.strip_prefix(NODE_URI) {
            id.parse().ok().map(Role::Node)
        } else {
            None
        };
        role.ok_or_else(|| unknown_caller(uri.to_owned()))
    }

    /// For messages to people: "an agent's certificate (web-1)".
    pub fn describe(&self) -> String {
        match self {
            Role::Stranger => "no certificate".to_owned(),
            Role::Agent(name) => format!("the certificate of agent {name}"),
            Role::Operator(name) => format!("the certificate of operator {name}"),
            Role::Node(id) => format!("the certificate of node {id}"),
        }
    }
}

fn unknown_caller(got: String) -> IdentityFault {
    IdentityFault::Caller { expected: "one SAN URI proofmark://<role>/<name>", got }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;

    use super::super::{Authority, Subject};
    use super::*;

    fn role_of(subject: Subject<'_>) -> Result<Role, String> {
        let authority = Authority::create("test CA", 1_800_000_000_000).unwrap();
        let issued = authority.issue(subject, 1_800_000_000_000).unwrap();
        let pem = issued.certificate_chain_pem;
        let leaf = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        Role::of(Some(&[leaf])).map_err(|fault| fault.to_string())
    }

    #[test]
    fn every_certificate_we_issue_says_its_role() {
        let web = AgentName::parse("web-1").unwrap();
        assert_eq!(role_of(Subject::Agent { name: &web }), Ok(Role::Agent(web)));
        let ann = Subject::Operator { name: "ann" };
        assert_eq!(role_of(ann), Ok(Role::Operator("ann".to_owned())));
        assert_eq!(role_of(Subject::Peer { node_id: 3, name: "c" }), Ok(Role::Node(3)));
        assert_eq!(Role::of(None).unwrap(), Role::Stranger);
    }

    #[test]
    fn a_server_certificate_is_no_caller() {
        assert!(role_of(Subject::Gateway { name: "a", hosts: &[] }).is_err());
    }

    #[test]
    fn strange_uris_are_refused() {
        for uri in
            ["proofmark://agent/", "proofmark://agent/UP", "proofmark://node/x", "spiffe://a/b"]
        {
            assert!(Role::from_uri(uri).is_err(), "{uri}");
        }
    }
}
