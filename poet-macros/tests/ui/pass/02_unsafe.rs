#![deny(warnings, unsafe_op_in_unsafe_fn)]

use poet::poet;

/// # Safety
///
/// `value` can be read.
#[poet]
pub unsafe fn read(value: *const u8) -> u8 {
    unsafe { *value }
}

/// # Safety
///
/// `value` can be read.
#[poet]
pub async unsafe fn read_later(value: *const u8) -> u8 {
    unsafe { *value }
}

/// # Safety
///
/// `value` can be read.
#[poet(idempotent)]
pub async unsafe fn read_again(value: *const u8) -> Result<u8, poet::Error> {
    Ok(unsafe { *value })
}

fn main() {
    let function: unsafe fn(*const u8) -> u8 = read;
    let runtime = poet::Runtime::builder().in_memory().build().unwrap();
    assert_eq!(runtime.scope_blocking(|| unsafe { function(&7) }), 7);
    drop(unsafe { read_later(&7) });
    drop(unsafe { read_again(&7) });
}
