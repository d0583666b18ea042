//! Which requests were handed to the server.
//!
//! When a connection ends, the SDK says the same of a request that the server has and of one that never left: lost. The
//! second may be made again whatever it does, so it is worth knowing. This stands between the SDK and a transport and
//! takes note of what the transport was given.

use super::http::WireError;
use super::progress::Progress;
use rmcp::model::{ClientJsonRpcMessage, RequestId, ServerJsonRpcMessage};
use rmcp::service::RoleClient;
use rmcp::transport::Transport;
use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// The requests that a transport was given.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger(Arc<Mutex<Handed>>);

/// Requests are numbered upwards, so the oldest entries are given up first.
#[derive(Debug)]
struct Handed {
    /// Everything up to here counts as handed over.
    floor: i64,
    above: BTreeSet<i64>,
}

impl Default for Handed {
    fn default() -> Self {
        Self { floor: i64::MIN, above: BTreeSet::new() }
    }
}

impl Ledger {
    /// Far more than are ever in flight.
    const KEPT: usize = 4 * super::MAX_IN_FLIGHT;

    /// Whether the server may have the request; `false` only if it cannot.
    pub(super) fn was_handed(&self, id: &RequestId) -> bool {
        let handed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        number(id).is_none_or(|id| id <= handed.floor || handed.above.contains(&id))
    }

    fn hand(&self, id: i64) {
        let mut handed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        handed.above.insert(id);
        if handed.above.len() > Self::KEPT
            && let Some(oldest) = handed.above.pop_first()
        {
            handed.floor = oldest;
        }
    }

    fn take_back(&self, id: i64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).above.remove(&id);
    }
}

fn number(id: &RequestId) -> Option<i64> {
    match id {
        RequestId::Number(id) => Some(*id),
        RequestId::String(_) => None,
    }
}

/// Whether an error of a transport says that the server cannot have got the whole message.
///
/// A pipe is broken because nobody is there to read it; what was written before is at most a part of the message, and
/// that nobody executes.
pub(super) fn says_unsent(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let broken = error.downcast_ref().is_some_and(|error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected)
        });
        if broken || matches!(error.downcast_ref(), Some(WireError::Connect(_))) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A transport whose requests, and what is reported about them, are taken note of.
pub(super) struct Noted<T> {
    transport: T,
    ledger: Ledger,
    progress: Progress,
}

impl<T> Noted<T> {
    pub(super) fn new(transport: T, ledger: Ledger, progress: Progress) -> Self {
        Self { transport, ledger, progress }
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Noted<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let id = match &message {
            ClientJsonRpcMessage::Request(request) => number(&request.id),
            _ => None,
        };
        let ledger = self.ledger.clone();
        let sending = self.transport.send(message);
        async move {
            // Before it is tried: half-way through, nobody knows.
            if let Some(id) = id {
                ledger.hand(id);
            }
            let result = sending.await;
            if let (Some(id), Err(error)) = (id, &result)
                && says_unsent(error)
            {
                ledger.take_back(id);
            }
            result
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        let message = self.transport.receive().await?;
        self.progress.note(&message);
        Some(message)
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.transport.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_counts_as_handed_over() {
        let ledger = Ledger::default();
        let handed = |id| ledger.was_handed(&RequestId::Number(id));
        assert!(!handed(1));
        let many = 2 * i64::try_from(Ledger::KEPT).unwrap();
        for id in (0..many).filter(|id| *id != 1) {
            ledger.hand(id);
        }
        assert!(handed(1), "it is older than what is remembered");
        assert!(handed(0) && handed(many - 1) && !handed(many));
        assert_eq!(ledger.0.lock().unwrap().above.len(), Ledger::KEPT);
        ledger.take_back(many - 1);
        assert!(!handed(many - 1));
    }

    #[test]
    fn only_a_pipe_that_nobody_reads_says_that_nothing_was_sent() {
        let error = |kind| io::Error::new(kind, "no");
        assert!(says_unsent(&error(io::ErrorKind::BrokenPipe)));
        assert!(says_unsent(&error(io::ErrorKind::NotConnected)));
        assert!(!says_unsent(&error(io::ErrorKind::ConnectionReset)));
    }
}
