//! The operators' RPCs: specs, join tokens, retirement, replicas. All need the certificate of an
//! operator.

use ring::rand::{SecureRandom as _, SystemRandom};
use tonic::{Request, Response, Status};

use proofmark_evidence::limits::AUTHOR_BYTES_MAX;
use proofmark_evidence::{AgentName, sha256};
use proofmark_proto as wire;
use proofmark_spec::{Documents, Source};
use wire::operator_server::Operator;
use wire::{
    Action, ApplyReply, ApplyRequest, CreateTokenReply, CreateTokenRequest, InviteNodeReply,
    InviteNodeRequest, JoinToken, LeaveNodeReply, LeaveNodeRequest, ListMembersReply,
    ListMembersRequest, RetireAgentReply, RetireAgentRequest, SpecFile, TransferLeaderReply,
    TransferLeaderRequest,
};

use super::gateway::role_of;
use super::refusal::{refuse, unapplied, wrong_role};
use super::{Handles, Proposer, members};
use crate::command::{Command, Refusal, Reply};
use crate::consensus::ProposalOutcome;
use crate::identity::Role;
use crate::limits::{APPLY_BYTES_MAX, APPLY_FILES_MAX, TOKEN_TTL_S_MAX};

pub(super) struct OperatorDesk<P, D> {
    handles: Handles<P, D>,
}

/// Documents that may be applied, and what they change.
struct Change {
    diff: Vec<String>,
    /// All files joined: what becomes evidence.
    text: String,
}

#[tonic::async_trait]
impl<P: Proposer, D: Clone + Send + Sync + 'static> Operator for OperatorDesk<P, D> {
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyReply>, Status> {
        let operator = self.operator(&request)?;
        let request = request.into_inner();
        self.check_apply(&request)?;
        let author = match request.author.is_empty() {
            true => operator,
            false => request.author,
        };
        let in_force = self.handles.specs.borrow().text.clone();
        let files = request.files;
        let change = self.handles.workers.run(move || compare(&in_force, &files)).await;
        match change.ok_or_else(|| Status::unavailable("shutting down"))? {
            Err(faults) => Ok(Response::new(ApplyReply { faults, ..ApplyReply::default() })),
            Ok(Change { diff, .. }) if request.dry_run => {
                Ok(Response::new(ApplyReply { diff, ..ApplyReply::default() }))
            }
            Ok(change) => self.propose_apply(author, change).await.map(Response::new),
        }
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenReply>, Status> {
        self.operator(&request)?;
        let request = request.into_inner();
        let agent = match request.agent.as_str() {
            "" => None,
            name => Some(self.agent_name(name)?),
        };
        if !(1..=TOKEN_TTL_S_MAX).contains(&request.ttl_s) {
            let expected = format!("1 to {TOKEN_TTL_S_MAX} seconds");
            return Err(self.refuse("token_ttl", expected, request.ttl_s.to_string()));
        }
        let token = self.new_token()?;
        let expires_at_ms = self.handles.clock.unix_ms() + u64::from(request.ttl_s) * 1000;
        let command = Command::CreateToken {
            token_id: token.id,
            secret_hash: sha256(&token.secret),
            agent,
            expires_at_ms,
        };
        match self.handles.proposer.propose(command).await {
            ProposalOutcome::Applied(Reply::TokenCreated) => {
                Ok(Response::new(CreateTokenReply { token: token.to_string(), expires_at_ms }))
            }
            other => Err(unapplied(&self.handles.counters, other)),
        }
    }

    async fn retire_agent(
        &self,
        request: Request<RetireAgentRequest>,
    ) -> Result<Response<RetireAgentReply>, Status> {
        self.operator(&request)?;
        let agent = self.agent_name(&request.into_inner().agent)?;
        match self.handles.proposer.propose(Command::Retire { agent }).await {
            ProposalOutcome::Applied(Reply::Retired) => Ok(Response::new(RetireAgentReply {})),
            other => Err(unapplied(&self.handles.counters, other)),
        }
    }

    async fn invite_node(
        &self,
        request: Request<InviteNodeRequest>,
    ) -> Result<Response<InviteNodeReply>, Status> {
        self.operator(&request)?;
        members::invite(&self.handles, request.into_inner()).await.map(Response::new)
    }

    async fn leave_node(
        &self,
        request: Request<LeaveNodeRequest>,
    ) -> Result<Response<LeaveNodeReply>, Status> {
        self.operator(&request)?;
        members::leave(&self.handles, &request.into_inner().name).await?;
        Ok(Response::new(LeaveNodeReply {}))
    }

    async fn transfer_leader(
        &self,
        request: Request<TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderReply>, Status> {
        self.operator(&request)?;
        members::transfer_leader(&self.handles, &request.into_inner().to).await?;
        Ok(Response::new(TransferLeaderReply {}))
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersReply>, Status> {
        self.operator(&request)?;
        members::list(&self.handles).map(Response::new)
    }
}

impl<P: Proposer, D: Clone + Send + Sync + 'static> OperatorDesk<P, D> {
    pub(super) fn new(handles: Handles<P, D>) -> Self {
        Self { handles }
    }

    /// The operator's name, from the certificate; asked by every call before anything else.
    fn operator<T>(&self, request: &Request<T>) -> Result<String, Status> {
        self.handles.check_serving()?;
        match role_of(request) {
            Role::Operator(name) => Ok(name),
            other => {
                let expected = "the client certificate of an operator";
                Err(wrong_role(&self.handles.counters, expected, &other))
            }
        }
    }

    fn refuse(&self, slug: &'static str, expected: String, got: String) -> Status {
        refuse(&self.handles.counters, slug, Action::Drop, expected, got)
    }

    fn agent_name(&self, name: &str) -> Result<AgentName, Status> {
        AgentName::parse(name).map_err(|_| {
            let expected = "a name of a-z, 0-9 and '-', at most 63 bytes".to_owned();
            let got: String = name.chars().take(80).collect();
            self.refuse("agent_name", expected, format!("{got:?}"))
        })
    }

    fn check_apply(&self, request: &ApplyRequest) -> Result<(), Status> {
        let files = request.files.len();
        if !(1..=APPLY_FILES_MAX).contains(&files) {
            let expected = format!("1 to {APPLY_FILES_MAX} files");
            return Err(self.refuse("apply_files", expected, files.to_string()));
        }
        let bytes: usize = request.files.iter().map(|file| file.text.len()).sum();
        if bytes > APPLY_BYTES_MAX {
            let expected = format!("at most {APPLY_BYTES_MAX} bytes of files");
            return Err(self.refuse("apply_too_large", expected, format!("{bytes} bytes")));
        }
        match request.author.len() {
            got if got > AUTHOR_BYTES_MAX => {
                let expected = format!("an author of at most {AUTHOR_BYTES_MAX} bytes");
                Err(self.refuse("author_too_long", expected, format!("{got} bytes")))
            }
            _ => Ok(()),
        }
    }

    async fn propose_apply(&self, author: String, change: Change) -> Result<ApplyReply, Status> {
        let command = Command::ApplySpec { author, text: change.text };
        match self.handles.proposer.propose(command).await {
            ProposalOutcome::Applied(Reply::Applied { revision, effective_at_ms }) => {
                let (diff, faults) = (change.diff, Vec::new());
                Ok(ApplyReply { revision, effective_at_ms, diff, faults })
            }
            // Another operator was faster: what was whole against our view no longer is.
            ProposalOutcome::Applied(Reply::Refused(Refusal::SpecFaults(faults))) => {
                Ok(ApplyReply { faults, ..ApplyReply::default() })
            }
            other => Err(unapplied(&self.handles.counters, other)),
        }
    }

    fn new_token(&self) -> Result<JoinToken, Status> {
        let (mut id, mut secret) = ([0; 16], [0; 16]);
        let random = SystemRandom::new();
        let filled = random.fill(&mut id).and_then(|()| random.fill(&mut secret));
        filled.map_err(|_| Status::internal("the system's random generator failed"))?;
        let ca_sha256 = self.handles.identity.authority.sha256().0;
        Ok(JoinToken { id, secret, ca_sha256, addresses: self.handles.token_addresses() })
    }
}

/// Parses, merges with what is in force, resolves; every fault at once, by file and line.
fn compare(in_force: &str, files: &[SpecFile]) -> Result<Change, Vec<String>> {
    let sources: Vec<Source<'_>> =
        files.iter().map(|file| Source { file: &file.name, text: &file.text }).collect();
    let newer = proofmark_spec::parse(&sources).map_err(lines)?;
    let before = documents_in_force(in_force)?;
    let after = before.merge(&newer);
    after.resolve().map_err(lines)?;
    Ok(Change { diff: proofmark_spec::diff(&before, &after), text: join(files) })
}

fn documents_in_force(text: &str) -> Result<Documents, Vec<String>> {
    match text.is_empty() {
        true => Ok(Documents::default()),
        false => proofmark_spec::parse(&[Source { file: "(in force)", text }]).map_err(lines),
    }
}

fn lines(faults: proofmark_spec::Faults) -> Vec<String> {
    faults.to_string().lines().map(str::to_owned).collect()
}

/// One YAML text of all files. A file's last line may lack its newline.
fn join(files: &[SpecFile]) -> String {
    let texts: Vec<&str> = files.iter().map(|file| file.text.trim_end_matches('\n')).collect();
    texts.join("\n---\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_join_into_one_text() {
        let file = |text: &str| SpecFile { name: "x".to_owned(), text: text.to_owned() };
        assert_eq!(join(&[file("a: 1\n"), file("b: 2")]), "a: 1\n---\nb: 2\n");
    }
}
