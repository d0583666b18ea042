//! Makes calls to unreliable outside services reliable by learning, with one attribute on an ordinary function.

pub use poet_domains as domains;
pub use poet_macros::poet;
#[doc(hidden)]
pub use poet_runtime::__private;
pub use poet_runtime::{Class, Classify, Clock, Error, Learning, Priority, Profile, Wall};
