//! The ledger as its users meet it: stories in, reports out; and against a recount without cells.

mod batches;
mod order;
mod recount;
mod replay;
mod rows;
mod scenario;
mod spec;
mod stories;
mod timeline;
