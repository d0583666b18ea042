//! How late a call may be: 50 ms, and what the machine itself is late by while the call runs.

use std::future::Future;
use std::time::{Duration, Instant};

/// The lateness that is promised at most.
const PROMISED: Duration = Duration::from_millis(50);

/// Runs a call and checks that it ended by its deadline.
///
/// On a loaded machine every timer is late. How late is measured by one of our own, set to the same instant on the same
/// runtime: the call may be [`PROMISED`] later than that, no more.
pub(crate) async fn by<T>(deadline: Instant, call: impl Future<Output = T>) -> T {
    let timer = async {
        tokio::time::sleep_until(deadline.into()).await;
        Instant::now()
    };
    tokio::pin!(call, timer);
    tokio::select! {
        biased;
        value = &mut call => value,
        fired = &mut timer => {
            let value = call.await;
            let late = fired.elapsed();
            assert!(late <= PROMISED, "the call ended {late:?} after its deadline");
            value
        }
    }
}
