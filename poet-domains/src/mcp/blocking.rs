//! Calls from synchronous functions.
//!
//! The call is polled on the caller's own thread, where the context of the function around it is; only its I/O and its
//! timers belong to a small runtime in the background, made when first needed. So it works on a plain thread and on a
//! thread of another runtime alike, though it blocks the latter.

use poet_runtime::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use tokio::runtime::{Builder, Handle, Runtime};

static BACKGROUND: Mutex<Option<Runtime>> = Mutex::new(None);

/// Waits for a future on this thread.
pub(super) fn wait<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let background = background()?;
    let _entered = background.enter();
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result;
        }
        // Woken without reason, it polls once more; woken before it sleeps, it does not sleep.
        thread::park();
    }
}

fn background() -> Result<Handle, Error> {
    let mut background = BACKGROUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*background {
        return Ok(runtime.handle().clone());
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("poet-mcp")
        .enable_all()
        .build()
        .map_err(|error| Error::denied(format!("starting the thread that blocking calls need: {error}")))?;
    Ok(background.insert(runtime).handle().clone())
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
