//! The whole system from outside: real processes, real sockets, real disks.

mod auditor;
mod bad_input;
mod catch_up;
mod chaos;
mod command_lines;
mod end_to_end;
mod fsck;
mod golden_data;
mod http_api;
mod membership;
mod power;
mod reads;
mod rpc;
mod up;
