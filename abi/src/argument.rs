//! How an argument travels in a register.

use core::fmt;
use core::marker::PhantomData;

use crate::{
    BindFlags, Error, Events, GrantFlags, Handle, MapFlags, Mode, RegionFlags, RevokeFlags, Rights,
    SnapshotFlags, Token, Words,
};

/// A value that fits one register.
///
/// Decoding checks everything that can be checked without looking at the object: unknown flag
/// bits and numbers that are too large are [`Error::Invalid`] before the call begins.
pub trait Argument: Sized {
    /// Its type as the documentation writes it.
    const NAME: &'static str;
    /// Its C type.
    const C_NAME: &'static str;
    /// Whether it is a [`Handle`].
    const IS_HANDLE: bool = false;

    /// Reads it from a register.
    fn from_raw(raw: u64) -> Result<Self, Error>;
    /// Puts it into a register.
    fn into_raw(self) -> u64;

    /// Writes what a register holds for people: `region#3.1`, `READ|MAP`, and what means nothing as a number.
    fn show(raw: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{raw:#x}")
    }
}

/// The address of a `T` in the caller's memory. Nothing is known of it: the kernel copies with
/// checks, and answers [`Error::Fault`] where it can't.
#[repr(transparent)]
pub struct UserPtr<T> {
    address: u64,
    target: PhantomData<*const T>,
}

impl<T> UserPtr<T> {
    /// The address as a pointer to a `T`.
    pub const fn new(address: u64) -> UserPtr<T> {
        UserPtr {
            address,
            target: PhantomData,
        }
    }

    /// The address.
    pub const fn address(self) -> u64 {
        self.address
    }
}

impl<T> Clone for UserPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for UserPtr<T> {}

impl<T> fmt::Debug for UserPtr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.address)
    }
}

impl<T> Argument for UserPtr<T> {
    const NAME: &'static str = "pointer";
    const C_NAME: &'static str = "void *";

    fn from_raw(raw: u64) -> Result<Self, Error> {
        Ok(UserPtr::new(raw))
    }

    fn into_raw(self) -> u64 {
        self.address
    }
}

impl Argument for () {
    const NAME: &'static str = "0";
    const C_NAME: &'static str = "void";

    fn from_raw(_: u64) -> Result<Self, Error> {
        Ok(())
    }

    fn into_raw(self) -> u64 {
        0
    }

    fn show(_: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0")
    }
}

impl Argument for bool {
    const NAME: &'static str = "bool";
    const C_NAME: &'static str = "uint64_t";

    fn from_raw(raw: u64) -> Result<Self, Error> {
        match raw {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::Invalid),
        }
    }

    fn into_raw(self) -> u64 {
        self as u64
    }

    fn show(raw: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::from_raw(raw) {
            Ok(value) => write!(f, "{value}"),
            Err(_) => write!(f, "{raw:#x}"),
        }
    }
}

/// From here on an integer is shown in hexadecimal.
const LARGE: u64 = 1 << 40;

macro_rules! integer {
    ($($ty:ident $c:literal),*) => {$(
        impl Argument for $ty {
            const NAME: &'static str = stringify!($ty);
            const C_NAME: &'static str = $c;

            fn from_raw(raw: u64) -> Result<Self, Error> {
                $ty::try_from(raw).map_err(|_| Error::Invalid)
            }

            fn into_raw(self) -> u64 {
                self as u64
            }

            fn show(raw: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match raw {
                    u64::MAX => f.write_str("max"),
                    LARGE.. => write!(f, "{raw:#x}"),
                    _ => write!(f, "{raw}"),
                }
            }
        }
    )*};
}

integer!(u8 "uint8_t", u32 "uint32_t", u64 "uint64_t");

macro_rules! number {
    ($($ty:ident $c:literal $is_handle:literal),*) => {$(
        impl Argument for $ty {
            const NAME: &'static str = stringify!($ty);
            const C_NAME: &'static str = $c;
            const IS_HANDLE: bool = $is_handle;

            fn from_raw(raw: u64) -> Result<Self, Error> {
                Ok($ty::from_bits(raw))
            }

            fn into_raw(self) -> u64 {
                self.bits()
            }

            fn show(raw: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", $ty::from_bits(raw))
            }
        }
    )*};
}

number!(Handle "handover_handle" true, Token "handover_token" false);

macro_rules! flags {
    ($($ty:ident),*) => {$(
        impl Argument for $ty {
            const NAME: &'static str = stringify!($ty);
            const C_NAME: &'static str = "uint32_t";

            fn from_raw(raw: u64) -> Result<Self, Error> {
                let bits = u32::try_from(raw).map_err(|_| Error::Invalid)?;
                $ty::from_bits(bits).ok_or(Error::Invalid)
            }

            fn into_raw(self) -> u64 {
                self.bits() as u64
            }

            fn show(raw: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Ok(flags) = Self::from_raw(raw) else {
                    return write!(f, "{raw:#x}");
                };
                if flags.is_empty() {
                    return f.write_str("0");
                }
                let names = flags.iter_names().enumerate();
                for (index, (name, _)) in names {
                    write!(f, "{}{name}", if index > 0 { "|" } else { "" })?;
                }
                Ok(())
            }
        }
    )*};
}

flags!(
    Rights,
    RegionFlags,
    SnapshotFlags,
    MapFlags,
    GrantFlags,
    RevokeFlags,
    Events,
    BindFlags
);

impl Argument for Mode {
    const NAME: &'static str = "Mode";
    const C_NAME: &'static str = "uint32_t";

    fn from_raw(raw: u64) -> Result<Self, Error> {
        Mode::from_code(raw).ok_or(Error::Invalid)
    }

    fn into_raw(self) -> u64 {
        self as u64
    }

    fn show(raw: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::from_raw(raw) {
            Ok(mode) => write!(f, "{mode:?}"),
            Err(_) => write!(f, "{raw:#x}"),
        }
    }
}

/// What a call returns: one value in `rax`, or, as [`Words`], several registers besides.
pub trait Outcome: Sized {
    /// Its type as the documentation writes it.
    const NAME: &'static str;
    /// Whether `rdi`, `rsi`, `rdx`, `r10`, `r8` and `r9` are part of it; else they are kept.
    const IN_REGISTERS: bool;

    /// Reads it from `rax` and those six.
    fn from_registers(rax: u64, further: [u64; 6]) -> Result<Self, Error>;
    /// Puts it into `rax` and those six.
    fn into_registers(self) -> (u64, [u64; 6]);
    /// Writes it for people, from what is in `rax`.
    fn show(rax: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl<T: Argument> Outcome for T {
    const NAME: &'static str = T::NAME;
    const IN_REGISTERS: bool = false;

    fn from_registers(rax: u64, _: [u64; 6]) -> Result<Self, Error> {
        T::from_raw(rax)
    }

    fn into_registers(self) -> (u64, [u64; 6]) {
        (self.into_raw(), [0; 6])
    }

    fn show(rax: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        <T as Argument>::show(rax, f)
    }
}

impl Outcome for Words {
    const NAME: &'static str = "Words";
    const IN_REGISTERS: bool = true;

    fn from_registers(_: u64, further: [u64; 6]) -> Result<Self, Error> {
        let [first, second, third, fourth, reply, badge] = further;
        Ok(Words {
            words: [first, second, third, fourth],
            reply: Handle::from_bits(reply),
            badge,
        })
    }

    fn into_registers(self) -> (u64, [u64; 6]) {
        let [first, second, third, fourth] = self.words;
        (
            0,
            [first, second, third, fourth, self.reply.bits(), self.badge],
        )
    }

    fn show(_: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAME)
    }
}
