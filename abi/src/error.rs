//! Why a call was refused, and whose fault it was.

/// Who has to change something before the call can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The caller passed something that can never work.
    Caller,
    /// Somebody with authority decided so.
    Policy,
    /// The other side of a ring, channel or hub did something.
    Peer,
    /// The machine has no more of what was asked for.
    Machine,
    /// Nobody: the moment was wrong, and trying again may work.
    Moment,
}

macro_rules! errors {
    ($($(#[doc = $doc:literal])+ $code:literal $name:ident, $blame:ident;)*) => {
        /// Every reason for which a call can be refused. The number of an error is negated in `rax`.
        ///
        /// None is ever collapsed into another: a bug of the caller, a policy and a fault of the
        /// peer are different numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Error { $($(#[doc = $doc])+ $name = $code,)* }

        impl Error {
            /// Every error, by number.
            pub const ALL: &'static [Error] = &[$(Error::$name),*];

            /// The error of this number.
            pub const fn from_code(code: u64) -> Option<Error> {
                match code { $($code => Some(Error::$name),)* _ => None }
            }

            /// Its name as it is written in this contract.
            pub const fn name(self) -> &'static str {
                match self { $(Error::$name => stringify!($name),)* }
            }

            /// What it means, in a sentence.
            pub const fn description(self) -> &'static str {
                match self { $(Error::$name => concat!($($doc),+),)* }
            }

            /// Whose fault it is.
            pub const fn blame(self) -> Blame {
                match self { $(Error::$name => Blame::$blame,)* }
            }
        }
    };
}

errors! {
    /// The handle names nothing in this process: never issued, dropped, moved away, or another process's.
    1 BadHandle, Caller;
    /// The handle names an object of another kind than the call works on.
    2 WrongKind, Caller;
    /// The capability lacks a right that the call needs, or lost it while the call waited.
    3 Denied, Policy;
    /// Somebody revoked the authority that this handle, mapping or wait rested on.
    4 Revoked, Policy;
    /// The object is on its way to another process by Move; cancel the token to have it back.
    5 InTransit, Caller;
    /// A device-like user holds the memory in place.
    6 Pinned, Moment;
    /// Somebody else still has access, so the object can't be moved exclusively.
    7 Shared, Policy;
    /// The region is sealed against this kind of access.
    8 Sealed, Policy;
    /// An address, offset or length lies outside of what it refers to.
    9 Range, Caller;
    /// An address, offset or length is not a multiple of the unit that it is counted in.
    10 Align, Caller;
    /// The addresses are taken by another mapping.
    11 Overlap, Caller;
    /// The machine has no memory left for this; nothing was changed.
    12 NoMemory, Machine;
    /// The account of the process does not cover this.
    13 Quota, Policy;
    /// There is one already.
    14 Exists, Caller;
    /// Somebody is using it at this moment.
    15 Busy, Moment;
    /// It can't be done without waiting, and the caller asked not to wait.
    16 WouldBlock, Moment;
    /// The deadline passed first.
    17 TimedOut, Moment;
    /// The wait or the grant was withdrawn.
    18 Cancelled, Moment;
    /// The other side closed in order, or died; everything that it sent before has been delivered.
    19 PeerClosed, Peer;
    /// The other side broke the protocol of the ring.
    20 PeerFault, Peer;
    /// A pointer refers to memory that the caller can't read or write in this way.
    21 Fault, Caller;
    /// An argument has no meaning here: an unknown flag, a reserved field, a malformed image.
    22 Invalid, Caller;
    /// This version does not do this, or not to such an object.
    23 Unsupported, Caller;
    /// No space is left in the ring.
    24 Full, Moment;
    /// Nothing is there to be taken.
    25 Empty, Moment;
    /// The message or object can never fit.
    26 TooLarge, Caller;
    /// The wait was ended because the waiting thread has to end.
    27 Interrupted, Moment;
    /// A fixed limit of this kernel is reached (see `limits`).
    28 Limit, Policy;
    /// No such thing is known.
    29 NotFound, Caller;
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl core::error::Error for Error {}
