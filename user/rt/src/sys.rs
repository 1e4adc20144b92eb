//! The system calls, one function each, generated from the one table.
//!
//! They are unsafe because some let the kernel write where a pointer says, and others take memory
//! away that Rust believes is there. The rest of this crate wraps what can be made safe.

#[allow(clippy::wildcard_imports)] // The types of the table.
use abi::*;
use abi::{Argument, Error, Outcome, for_each_syscall};

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

/// The same of a call that answers in the registers of its arguments.
///
/// # Safety
/// As of [`raw`].
#[inline(always)]
pub unsafe fn raw_in_registers<const COUNT: usize>(
    number: u64,
    arguments: [u64; COUNT],
) -> (u64, [u64; 6]) {
    const { assert!(COUNT <= 6) };
    let mut registers = [0; 6];
    registers[..COUNT].copy_from_slice(&arguments);
    #[cfg(target_os = "none")]
    {
        let [mut a, mut b, mut c, mut d, mut e, mut f] = registers;
        let result;
        // SAFETY: the kernel keeps every register but rax, rcx, r11 and those of the arguments, and
        // the stack. What the call does to memory is the caller's affair.
        unsafe {
            core::arch::asm!(
                "syscall",
                inlateout("rax") number => result,
                inlateout("rdi") a,
                inlateout("rsi") b,
                inlateout("rdx") c,
                inlateout("r10") d,
                inlateout("r8") e,
                inlateout("r9") f,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        (result, [a, b, c, d, e, f])
    }
    #[cfg(not(target_os = "none"))]
    {
        let _ = number;
        (abi::encode(Err(Error::Unsupported)), registers)
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
            if <$ret as Outcome>::IN_REGISTERS {
                // SAFETY: the caller's.
                let (result, further) = unsafe { raw_in_registers($number, values) };
                return <$ret as Outcome>::from_registers(decode(result)?, further);
            }
            // SAFETY: the caller's.
            let result = decode(unsafe { raw($number, values) })?;
            <$ret as Outcome>::from_registers(result, [0; 6])
        }
    )*};
}

for_each_syscall!(stubs);
