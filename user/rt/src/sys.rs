//! The system calls, one function each, generated from the one table.
//!
//! They are unsafe because some let the kernel write where a pointer says, and others take memory
//! away that Rust believes is there. The rest of this crate wraps what can be made safe.

#[allow(clippy::wildcard_imports)] // The types of the table.
use abi::*;
use abi::{Argument, Error, for_each_syscall};

/// A call by number, with whatever is in the registers.
///
/// # Safety
/// What the call does to the memory of this process is the caller's affair.
#[inline]
pub unsafe fn raw(number: u64, arguments: [u64; 6]) -> u64 {
    #[cfg(target_os = "none")]
    {
        let result;
        // SAFETY: the kernel keeps every register but rax, rcx and r11, and the stack.
        unsafe {
            core::arch::asm!(
                "syscall",
                inlateout("rax") number => result,
                in("rdi") arguments[0],
                in("rsi") arguments[1],
                in("rdx") arguments[2],
                in("r10") arguments[3],
                in("r8") arguments[4],
                in("r9") arguments[5],
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        result
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
            #[allow(unused_mut)] // Of calls without arguments.
            let mut registers = [0; 6];
            let _values: &[u64] = &[$(Argument::into_raw($arg)),*];
            registers[.._values.len()].copy_from_slice(_values);
            // SAFETY: the caller's.
            let result = decode(unsafe { raw($number, registers) })?;
            <$ret as Argument>::from_raw(result)
        }
    )*};
}

for_each_syscall!(stubs);
