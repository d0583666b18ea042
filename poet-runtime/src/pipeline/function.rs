//! The entry points of annotated functions.

use crate::__private::Call;
use crate::site::Site;
use std::future::Future;
use std::pin::Pin;

/// Runs a function that must not be started twice.
pub async fn run_once<T, F: Future<Output = T>>(_site: &'static Site, _call: Call<T>, body: Pin<&mut F>) -> T {
    body.await
}

/// The same, with a fallback.
pub async fn run_once_or<T, F, B, G>(_site: &'static Site, _call: Call<T>, body: Pin<&mut F>, _fallback: B) -> T
where
    F: Future<Output = T>,
    B: FnOnce() -> G,
    G: Future<Output = T>,
{
    body.await
}

/// Runs a function that may be started again; `attempt(last)` starts it.
pub async fn run<T, M, F>(_site: &'static Site, _call: Call<T>, mut attempt: M) -> T
where
    M: FnMut(bool) -> F,
    F: Future<Output = T>,
{
    attempt(true).await
}

/// The same, with a fallback.
pub async fn run_or<T, M, F, B, G>(_site: &'static Site, _call: Call<T>, mut attempt: M, _fallback: B) -> T
where
    M: FnMut(bool) -> F,
    F: Future<Output = T>,
    B: FnOnce() -> G,
    G: Future<Output = T>,
{
    attempt(true).await
}

/// Runs a synchronous function that must not be started twice.
pub fn run_sync_once<T>(_site: &'static Site, _call: Call<T>, body: impl FnOnce() -> T) -> T {
    body()
}

/// The same, with a fallback.
pub fn run_sync_once_or<T>(
    _site: &'static Site,
    _call: Call<T>,
    body: impl FnOnce() -> T,
    _fallback: impl FnOnce() -> T,
) -> T {
    body()
}

/// Runs a synchronous function that may be started again.
pub fn run_sync<T>(_site: &'static Site, _call: Call<T>, mut attempt: impl FnMut(bool) -> T) -> T {
    attempt(true)
}

/// The same, with a fallback.
pub fn run_sync_or<T>(
    _site: &'static Site,
    _call: Call<T>,
    mut attempt: impl FnMut(bool) -> T,
    _fallback: impl FnOnce() -> T,
) -> T {
    attempt(true)
}
