//! Calls that are put off: when, by whom they are made later, and what their tickets say. In virtual time, on the real
//! pipeline, with a service that does what a test says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod accepted;
mod learned_hours;
mod leases;
mod orders;
mod put_off;
mod service;
mod shared;
mod slow_queue;
mod working;
