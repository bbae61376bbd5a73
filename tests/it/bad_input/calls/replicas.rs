//! Replicas that must not join, and operators' words about replicas that must not be followed.

use wire::node_gateway_client::NodeGatewayClient;
use wire::{
    InviteNodeRequest, JoinNodeReply, JoinNodeRequest, LeaveNodeRequest, NodeToken,
    TransferLeaderRequest,
};

use super::*;
use crate::rpc::client::{join_request, signed_join};

impl Caller {
    pub(super) async fn replicas(&mut self) {
        self.invite().await;
        let token = self.invited("a4").await;
        let good = join_request(&token, "a4", 40);
        self.leave_and_transfer().await;
        Box::pin(self.join_with(&good)).await;
        self.join_after(&good).await;
        self.leave_again(good).await;
    }

    async fn invited(&self, name: &str) -> NodeToken {
        let reply = self.operators().await.invite_node(invitation(name, "")).await;
        reply.expect("a good request").into_inner().token.parse().expect("a node's token")
    }

    async fn ask_join(&self, request: JoinNodeRequest) -> Result<JoinNodeReply, Status> {
        let channel = self.channel(client_config(&self.ca_pem, None)).await;
        let reply = NodeGatewayClient::new(channel).join_node(request).await;
        reply.map(tonic::Response::into_inner)
    }

    async fn refused_join(&mut self, name: &str, request: JoinNodeRequest) {
        let told = tell(self.ask_join(request).await);
        self.check(name, &told);
    }

    async fn refused_invite(&mut self, name: &str, request: InviteNodeRequest) {
        let told = tell(self.operators().await.invite_node(request).await);
        self.check(name, &told);
    }

    async fn invite(&mut self) {
        let channel = self.channel(client_config(&self.ca_pem, None)).await;
        let answer = OperatorClient::new(channel).invite_node(invitation("a4", "")).await;
        self.check("invite-no-certificate", &tell(answer));
        let channel = self.channel(self.agent_tls.clone()).await;
        let answer = OperatorClient::new(channel).invite_node(invitation("a4", "")).await;
        self.check("invite-agent-certificate", &tell(answer));
        let brief = InviteNodeRequest { ttl_s: 0, ..invitation("a4", "") };
        self.refused_invite("invite-name", invitation("A 4", "")).await;
        self.refused_invite("invite-replaces-name", invitation("a4", "A 1")).await;
        self.refused_invite("invite-ttl-zero", brief).await;
        self.refused_invite("invite-member-exists", invitation("a1", "")).await;
        self.refused_invite("invite-replaces-unknown", invitation("a4", "a9")).await;
    }

    /// None of all that spends the token.
    async fn join_with(&mut self, good: &JoinNodeRequest) {
        self.refused_invite("invite-replaces-invited", invitation("a5", "a4")).await;
        let key = SigningKey::from_seed([40; 32]);
        let changed = |change: fn(&mut JoinNodeRequest)| {
            let mut request = good.clone();
            change(&mut request);
            signed_join(request, &key)
        };
        let elsewhere = "elsewhere.test:7682".to_owned();
        let wrong = [
            ("join-wrong-cluster", changed(|join| join.log_id = vec![7; 32].into())),
            ("join-key-short", changed(|join| join.cosigner_key = vec![1; 31].into())),
            ("join-node-name", changed(|join| join.name = "A 4".to_owned())),
            (
                "join-certificate-request-damaged",
                changed(|join| {
                    join.peer_csr_der = vec![0x30, 0].into();
                }),
            ),
            ("join-address-without-port", changed(|join| join.grpc = "a4.test".to_owned())),
            (
                "join-address-too-long",
                changed(|join| {
                    join.peers = format!("{}:7682", "a".repeat(255));
                }),
            ),
            ("join-token-id-short", changed(|join| join.token_id = vec![1; 15].into())),
            ("join-token-unknown", changed(|join| join.token_id = vec![0xee; 16].into())),
            ("join-token-wrong-secret", changed(|join| join.token_secret = vec![0; 16].into())),
            ("join-token-for-other-node", changed(|join| join.name = "a5".to_owned())),
            (
                "join-possession-of-other-key",
                signed_join(good.clone(), &SigningKey::from_seed([41; 32])),
            ),
            (
                "join-possession-of-other-address",
                JoinNodeRequest { peers: elsewhere, ..good.clone() },
            ),
        ];
        for (name, request) in wrong {
            self.refused_join(name, request).await;
        }
    }

    async fn join_after(&mut self, good: &JoinNodeRequest) {
        let key = SigningKey::from_seed([40; 32]);
        let first = self.ask_join(good.clone()).await.expect("a good request");
        let again = self.ask_join(good.clone()).await.expect("the same request");
        assert_eq!(first.node_id, again.node_id);
        let elsewhere = JoinNodeRequest { peers: "elsewhere.test:7682".to_owned(), ..good.clone() };
        self.refused_join("join-token-spent", signed_join(elsewhere, &key)).await;

        let token = self.invited("a5").await;
        self.refused_join("join-key-of-another", join_request(&token, "a5", 40)).await;
        let own = SigningKey::from_seed([41; 32]);
        let grpc = "a4.test:7681".to_owned();
        let same_host = JoinNodeRequest { grpc, ..join_request(&token, "a5", 41) };
        self.refused_join("join-address-of-another", signed_join(same_host, &own)).await;
    }

    /// The token is good, and nobody has come yet.
    async fn leave_and_transfer(&mut self) {
        let mut client = self.operators().await;
        for (case, name) in
            [("leave-name", ""), ("leave-unknown", "a9"), ("leave-last-voter", "a1")]
        {
            self.check(case, &tell(client.leave_node(leave_of(name)).await));
        }
        for (case, to) in [("transfer-unknown", "a9"), ("transfer-not-a-voter", "a4")] {
            let request = TransferLeaderRequest { to: to.to_owned() };
            self.check(case, &tell(client.transfer_leader(request).await));
        }
    }

    /// Its place goes step by step; until then the same request is answered as before.
    async fn leave_again(&mut self, good: JoinNodeRequest) {
        for name in ["a4", "a5"] {
            self.operators().await.leave_node(leave_of(name)).await.expect("a replica");
        }
        let patience = wait::Deadline::after(SETTLE);
        while self.ask_join(good.clone()).await.is_ok() {
            assert!(!patience.passed(), "a4 never lost its place");
        }
        self.refused_join("join-member-gone", good).await;
    }
}

fn invitation(name: &str, replaces: &str) -> InviteNodeRequest {
    InviteNodeRequest { name: name.to_owned(), replaces: replaces.to_owned(), ttl_s: 60 }
}

fn leave_of(name: &str) -> LeaveNodeRequest {
    LeaveNodeRequest { name: name.to_owned() }
}
