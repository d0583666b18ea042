//! perceive → operate → enforce → train: the four stages of a call.
//!
//! *Perceive* finds the target, its values in force and the context around the call, and makes limits of them.
//! *Operate* is the driver with its policies. *Enforce* classifies and validates the answer and settles what the
//! caller gets. *Train* is one record to the recorder. A function site and a service call are two doors to the same
//! stages.

mod batch;
pub(crate) mod bulk;
mod coalesce;
mod driver;
mod flight;
pub(crate) mod function;
mod perceive;
pub(crate) mod request;
mod reuse;
pub mod service;

pub(crate) use batch::Gatherers;
pub(crate) use coalesce::Flights;
pub(crate) use request::Fallbacks;
