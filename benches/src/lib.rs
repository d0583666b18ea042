//! What a call costs, beside its peers: cases, sampling and the table, shared by the benchmarks.

pub mod annotated;
pub mod cached;
pub mod echo;
pub mod floor;
pub mod heap;
pub mod peers;
pub mod primitives;
pub mod protected;
pub mod sampling;
pub mod table;
