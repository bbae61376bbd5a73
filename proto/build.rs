//! Compiles the `.proto` files with protox (pure Rust): no protoc on the machine.

use std::error::Error;

const FILES: [&str; 5] = [
    "proofmark/v1/refusal.proto",
    "proofmark/v1/agent.proto",
    "proofmark/v1/operator.proto",
    "proofmark/v1/peer.proto",
    "proofmark/v1/node.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        // Bytes: a received leaf or raft entry is a slice of the frame it came in, not a copy.
        .bytes(".")
        // Without this the client gets a constructor `connect`, in the way of the RPC of that name.
        .build_transport(false)
        .codec_path("crate::codec::LeanCodec")
        .compile_fds(descriptors)?;
    Ok(())
}
