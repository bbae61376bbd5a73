//! Every bad spec of `tests/golden/spec`: through the program, which finds most faults itself, and
//! past it, straight to the operator's RPC, which must find the very same.

use proofmark_aggregator::identity::OperatorIdentity;
use proofmark_proto::operator_client::OperatorClient;
use proofmark_proto::{ApplyRequest, SpecFile};
use proofmark_tests::installation::{Replica, path};
use proofmark_tests::{golden, program};

/// A bad spec, and what is to be said about it.
struct Bad {
    name: String,
    text: String,
    expected: String,
}

/// The differences to the golden files.
pub fn apply_all(replica: &Replica) -> Vec<String> {
    let specs: Vec<Bad> = golden::files(&golden::dir("spec"), "yaml")
        .iter()
        .map(|file| Bad {
            name: file.file_name().expect("a file").to_str().expect("ASCII").to_owned(),
            text: std::fs::read_to_string(file).expect("readable"),
            expected: std::fs::read_to_string(file.with_extension("expected")).expect("readable"),
        })
        .collect();
    assert!(specs.len() >= 60, "only {} bad specs", specs.len());
    let mut differences = through_the_program(replica, &specs);
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    differences.extend(runtime.block_on(past_the_program(replica, &specs)));
    differences
}

fn through_the_program(replica: &Replica, specs: &[Bad]) -> Vec<String> {
    let apply = |bad: &Bad| {
        let args = ["apply", "-f", &bad.name, "--data", path(&replica.data)];
        let output = program::run_in(&golden::dir("spec"), &args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_refused = output.status.code() == Some(64) && output.stdout.is_empty();
        (!is_refused || said != bad.expected).then(|| {
            let (name, status, expected) = (&bad.name, output.status, &bad.expected);
            format!("apply -f {name}: {status}\n--- expected\n{expected}--- got\n{said}")
        })
    };
    specs.iter().filter_map(apply).collect()
}

async fn past_the_program(replica: &Replica, specs: &[Bad]) -> Vec<String> {
    let operator = OperatorIdentity::load(&replica.data.join("identity")).expect("made by init");
    let tls = operator.client_config().expect("a whole credential");
    let channel = proofmark_agent::connect(&replica.grpc.to_string(), tls).await;
    let mut client = OperatorClient::new(channel.expect("it serves"));
    let mut differences = Vec::new();
    for bad in specs {
        let file = SpecFile { name: bad.name.clone(), text: bad.text.clone() };
        let author = operator.name().to_owned();
        let reply = client.apply(ApplyRequest { files: vec![file], dry_run: false, author }).await;
        let said = match reply {
            Ok(reply) => {
                let reply = reply.into_inner();
                format!("{}\n", reply.faults.join("\n")) + &accepted(reply.revision)
            }
            Err(status) => format!("{status}\n"),
        };
        if said != bad.expected {
            let (name, expected) = (&bad.name, &bad.expected);
            differences.push(format!("RPC {name}\n--- expected\n{expected}--- got\n{said}"));
        }
    }
    differences
}

fn accepted(revision: u64) -> String {
    if revision == 0 { String::new() } else { format!("applied as revision {revision}\n") }
}
