#![allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    unreachable_pub,
    reason = "generated code is not held to our style"
)]

tonic::include_proto!("proofmark.v1");
