//! perceive → operate → enforce → train.

pub mod function;
