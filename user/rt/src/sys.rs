//! The system calls, one function each, generated from the one table.
//!
//! They are unsafe because some let the kernel write where a pointer says, and others take memory
//! away that Rust believes is there. The rest of this crate wraps what can be made safe.

#[allow(clippy::wildcard_imports)] // The types of the table.
use abi::*;
use abi::{Argument, Error, for_each_syscall};

/// Enters the kernel with a number and what is in the registers.
#[cfg(target_os = "none")]
macro_rules! enter {
    ($number:expr $(, $register:tt = $value:expr)*) => {{
        let result;
        // SAFETY: the kernel keeps every register but rax, rcx and r11, and the stack. What the call
        // does to memory is the caller's affair.
        unsafe {
            core::arch::asm!(
                "syscall",
                inlateout("rax") $number => result,
                $(in($register) $value,)*
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        result
    }};
}

/// A call by number with up to six arguments. The kernel does not look at further registers.
///
/// # Safety
/// What the call does to the memory of this process is the caller's affair.
#[inline(always)]
pub unsafe fn raw<const COUNT: usize>(number: u64, arguments: [u64; COUNT]) -> u64 {
    const { assert!(COUNT <= 6) };
    #[cfg(target_os = "none")]
    match arguments.as_slice() {
        [] => enter!(number),
        [a] => enter!(number, "rdi" = *a),
        [a, b] => enter!(number, "rdi" = *a, "rsi" = *b),
        [a, b, c] => enter!(number, "rdi" = *a, "rsi" = *b, "rdx" = *c),
        rest => {
            let at = |index: usize| rest.get(index).copied().unwrap_or(0);
            enter!(
                number,
                "rdi" = at(0),
                "rsi" = at(1),
                "rdx" = at(2),
                "r10" = at(3),
                "r8" = at(4),
                "r9" = at(5)
            )
        }
    }
    #[cfg(not(target_os = "none"))]
    {
        let _ = (number, arguments);
        abi::encode(Err(Error::Unsupported))
    }
}

macro_rules! stubs {
    (() $(
        $(#[doc = $doc:literal])*
        $number:literal $variant:ident $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty,
        rights [$($right:ident),*], errors [$($error:ident),*];
    )*) => {$(
        $(#[doc = $doc])*
        ///
        /// # Safety
        /// Pointers lead to memory that the kernel may read or write so during the call; nothing
        /// that Rust believes in is unmapped or written behind its back.
        #[inline]
        pub unsafe fn $name($($arg: $ty),*) -> Result<$ret, Error> {
            let values = [$(Argument::into_raw($arg)),*];
            // SAFETY: the caller's.
            let result = decode(unsafe { raw($number, values) })?;
            <$ret as Argument>::from_raw(result)
        }
    )*};
}

for_each_syscall!(stubs);
