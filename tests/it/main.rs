//! The whole system from outside: real processes, real sockets, real disks.

mod auditor;
mod end_to_end;
mod rpc;
mod up;
