//! What servers report about requests under way.
//!
//! The SDK puts a token on every request, and hands what a server reports under it to whoever asks in tasks of their
//! own, in any order. Here it is taken off the transport, in order: a report counts only if it is higher than the one
//! before, as the protocol has it, so that a server which keeps saying the same keeps nobody waiting.

use rmcp::model::{JsonRpcMessage, ProgressNotificationParam, ProgressToken, ServerJsonRpcMessage, ServerNotification};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// The requests under way of one connection, by their tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<Mutex<HashMap<ProgressToken, Told>>>);

/// What was reported about one request.
#[derive(Debug)]
struct Told {
    highest: f64,
    advanced: Arc<Notify>,
}

/// What a server reports about one request, as long as somebody waits for it.
pub(super) struct Reports {
    progress: Progress,
    token: ProgressToken,
    advanced: Arc<Notify>,
}

impl Progress {
    /// Follows a request.
    pub(super) fn of(&self, token: ProgressToken) -> Reports {
        let advanced = Arc::<Notify>::default();
        let told = Told { highest: f64::NEG_INFINITY, advanced: advanced.clone() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), told);
        Reports { progress: self.clone(), token, advanced }
    }

    /// Takes note of what a message reports, if it does.
    pub(super) fn note(&self, message: &ServerJsonRpcMessage) {
        let JsonRpcMessage::Notification(notification) = message else { return };
        let ServerNotification::ProgressNotification(notification) = &notification.notification else { return };
        let ProgressNotificationParam { progress_token, progress, .. } = &notification.params;
        if let Some(told) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(progress_token)
            && *progress > told.highest
        {
            told.highest = *progress;
            told.advanced.notify_one();
        }
    }
}

impl Reports {
    /// Waits until the request has advanced further.
    pub(super) async fn advance(&self) {
        self.advanced.notified().await;
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.progress.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmcp::model::{NumberOrString, ProgressNotification};
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn report(token: i64, progress: f64) -> ServerJsonRpcMessage {
        let params = ProgressNotificationParam::new(ProgressToken(NumberOrString::Number(token)), progress);
        let notification = ServerNotification::ProgressNotification(ProgressNotification::new(params));
        ServerJsonRpcMessage::notification(notification)
    }

    #[test]
    fn only_what_is_higher_than_before_is_progress() {
        let progress = Progress::default();
        let reports = progress.of(ProgressToken(NumberOrString::Number(7)));
        let advances = |token, value| {
            progress.note(&report(token, value));
            pin!(reports.advance()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        let told = [(7, 0.0, true), (7, 0.0, false), (8, 5.0, false), (7, -1.0, false), (7, f64::NAN, false)];
        for (token, value, expected) in told {
            assert_eq!(advances(token, value), expected, "{token} {value}");
        }
        assert!(advances(7, 0.5));
        drop(reports);
        assert!(progress.0.lock().unwrap().is_empty(), "nobody waits any more");
    }
}
