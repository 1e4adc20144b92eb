//! When a service that has ended is started again.
//!
//! The first time soon, then each time after twice as long, so that one that ends at once does not
//! keep the machine busy; and not for ever. One that lived for a while starts over with a clean slate.

/// The pause before the first restart, in ns.
pub const FIRST_PAUSE: u64 = 10_000_000;
/// The longest pause, in ns.
pub const LONGEST_PAUSE: u64 = 1_000_000_000;
/// How long a service has to live for its earlier ends to be forgotten, in ns.
pub const FORGET: u64 = 5_000_000_000;
/// Restarts without such a life between them.
pub const RESTARTS: u32 = 5;

/// What is remembered of a service's ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Restarts {
    count: u32,
}

/// What to do about a service that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Start it again.
    Restart {
        /// After so many ns.
        pause: u64,
        /// The how manieth restart in a row it is.
        count: u32,
    },
    /// Leave it.
    GiveUp,
}

impl Restarts {
    /// A service that has not ended yet.
    pub const fn new() -> Restarts {
        Restarts { count: 0 }
    }

    /// It has ended, after it lived for so many ns.
    pub fn ended(&mut self, lived: u64) -> Next {
        if lived >= FORGET {
            self.count = 0;
        }
        if self.count == RESTARTS {
            return Next::GiveUp;
        }
        let pause = (FIRST_PAUSE << self.count).min(LONGEST_PAUSE);
        self.count += 1;
        Next::Restart {
            pause,
            count: self.count,
        }
    }
}

/// The status of a supervisor that was told to end the first lives of its service at some entry into the
/// kernel, when that has happened and the service has exited in order later.
pub const FUSE_BURNT: u8 = 3;
