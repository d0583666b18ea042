//! What a function hands to the calls inside it.

use crate::site::Priority;

/// What `priority = …` may be: a [`Priority`], or a reference to one.
pub trait AsPriority {
    /// The priority meant.
    fn as_priority(&self) -> Priority;
}

impl AsPriority for Priority {
    fn as_priority(&self) -> Priority {
        *self
    }
}

impl<P: AsPriority + ?Sized> AsPriority for &P {
    fn as_priority(&self) -> Priority {
        (**self).as_priority()
    }
}
