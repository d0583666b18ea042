//! Counts what the measuring thread takes from the heap.
//!
//! The count is kept for one thread, because the recorder's thread allocates on its own account, and it is taken in a
//! run of its own, because counting would add to the time of whoever allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator with a count.
#[derive(Debug)]
pub struct Counting;

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    on: bool,
    blocks: u64,
    bytes: u64,
}

thread_local! {
    static COUNT: Cell<Count> = const { Cell::new(Count { on: false, blocks: 0, bytes: 0 }) };
}

fn count(bytes: usize) {
    COUNT.with(|count| {
        let Count { on: true, blocks, bytes: before } = count.get() else { return };
        count.set(Count { on: true, blocks: blocks + 1, bytes: before + bytes as u64 });
    });
}

// SAFETY: every method hands its arguments to `System` unchanged. The thread-local is built at compile time and has no
// destructor, so that reading it neither allocates nor fails.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        unsafe { System.realloc(block, layout, size) }
    }
}

/// The blocks and bytes this thread takes while `f` runs.
pub fn counted(f: impl FnOnce()) -> (u64, u64) {
    COUNT.with(|count| count.set(Count { on: true, ..Count::default() }));
    f();
    let Count { blocks, bytes, .. } = COUNT.with(|count| count.replace(Count::default()));
    (blocks, bytes)
}
