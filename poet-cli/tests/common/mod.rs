//! What the tests of the command have in common.

use std::process::{Command, Stdio};

/// The built command, which nothing around it speaks to.
pub(crate) fn poet() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_poet"));
    for name in ["POET_DB", "POET_CONFIG", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}
