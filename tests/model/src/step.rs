//! Programs: steps of processes and CPUs, as values and as text.
//!
//! A step names what it works on by *registers*: each process has some for handles and some for
//! addresses of mappings, and all share some for tokens. A register keeps what it was given last,
//! valid or not, so a step means the same when another is taken out of the program, which is what
//! lets a failure shrink. Each step is one line of text:
//!
//! ```
//! let program: model::Program = "
//!     create process=0 handle=1 pages=3 flags=COMMIT
//!     map process=0 handle=1 mapping=0 place=anywhere guard=false offset=0 len=0 access=READ+WRITE
//!     store cpu=0 mapping=0 page=2 word=1 value=7
//! ".parse().unwrap();
//! assert_eq!(program.to_string().parse(), Ok(program));
//! ```

use std::fmt;
use std::str::FromStr;

use abi::limits::LEAF_SIZE;
use abi::{FOREVER, GrantFlags, Mode, RegionFlags, Rights, SnapshotFlags, Syscall};

/// What a line of a program may not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(pub String);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

/// A value in the text of a step.
pub(crate) trait Word: Sized {
    fn print(&self) -> String;
    fn parse(text: &str) -> Option<Self>;
}

macro_rules! numbers {
    ($($ty:ident)*) => {$(
        impl Word for $ty {
            fn print(&self) -> String {
                self.to_string()
            }
            fn parse(text: &str) -> Option<$ty> {
                text.parse().ok()
            }
        }
    )*};
}

numbers!(u64 u32 usize bool);

/// A time of the clock, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Until(pub u64);

impl Word for Until {
    fn print(&self) -> String {
        match self.0 {
            FOREVER => "never".to_owned(),
            time => time.to_string(),
        }
    }

    fn parse(text: &str) -> Option<Until> {
        match text {
            "never" => Some(Until(FOREVER)),
            time => time.parse().ok().map(Until),
        }
    }
}

macro_rules! flags {
    ($($ty:ident)*) => {$(
        impl Word for $ty {
            fn print(&self) -> String {
                let names: Vec<&str> = self.iter_names().map(|(name, _)| name).collect();
                if names.is_empty() { "0".to_owned() } else { names.join("+") }
            }
            fn parse(text: &str) -> Option<$ty> {
                if text == "0" {
                    return Some($ty::empty());
                }
                text.split('+').map($ty::from_name).collect()
            }
        }
    )*};
}

flags!(Rights RegionFlags SnapshotFlags GrantFlags);

impl Word for Mode {
    fn print(&self) -> String {
        format!("{self:?}")
    }

    fn parse(text: &str) -> Option<Mode> {
        [Mode::Move, Mode::Share, Mode::CopyOnWrite]
            .into_iter()
            .find(|mode| format!("{mode:?}") == text)
    }
}

/// Where a mapping is asked for, in units of 2 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Wherever there is room.
    Anywhere,
    /// There, if it is free.
    Hint(u64),
    /// There and nowhere else.
    Fixed(u64),
}

impl Place {
    /// The address that it names; 0 for none.
    pub fn address(self) -> u64 {
        match self {
            Place::Anywhere => 0,
            Place::Hint(unit) | Place::Fixed(unit) => unit.wrapping_mul(LEAF_SIZE),
        }
    }
}

impl Word for Place {
    fn print(&self) -> String {
        match self {
            Place::Anywhere => "anywhere".to_owned(),
            Place::Hint(unit) => format!("hint:{unit}"),
            Place::Fixed(unit) => format!("fixed:{unit}"),
        }
    }

    fn parse(text: &str) -> Option<Place> {
        match text.split_once(':') {
            None => (text == "anywhere").then_some(Place::Anywhere),
            Some(("hint", unit)) => unit.parse().ok().map(Place::Hint),
            Some(("fixed", unit)) => unit.parse().ok().map(Place::Fixed),
            Some(_) => None,
        }
    }
}

/// Steps, as values and as lines of text.
macro_rules! steps {
    (
        $(#[doc = $about:literal])+ $step:ident;
        $($(#[doc = $doc:literal])+ $word:literal $name:ident { $($field:ident: $ty:ty),* };)*
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the fields are registers and arguments named as such")]
        pub enum $step { $($(#[doc = $doc])+ $name { $($field: $ty),* },)* }

        impl $step {
            /// The word that its line begins with.
            pub fn name(&self) -> &'static str {
                match self { $($step::$name { .. } => $word,)* }
            }

            /// All such words.
            pub const NAMES: &'static [&'static str] = &[$($word),*];
        }

        impl std::fmt::Display for $step {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                #[allow(unused_imports, reason = "a step without arguments has no words")]
                use $crate::step::Word;
                match self {
                    $($step::$name { $($field),* } => {
                        f.write_str($word)?;
                        $(write!(f, concat!(" ", stringify!($field), "={}"), $field.print())?;)*
                        Ok(())
                    })*
                }
            }
        }

        impl std::str::FromStr for $step {
            type Err = $crate::step::ParseError;

            fn from_str(line: &str) -> Result<$step, $crate::step::ParseError> {
                let error = || $crate::step::ParseError(format!("not a step: {line}"));
                let mut words = line.split_whitespace();
                let mut arguments = $crate::step::Arguments { words: &mut words };
                let step = match arguments.words.next().ok_or_else(error)? {
                    $($word => $step::$name {
                        $($field: arguments.next(stringify!($field)).ok_or_else(error)?),*
                    },)*
                    _ => return Err(error()),
                };
                match words.next() {
                    None => Ok(step),
                    Some(_) => Err(error()),
                }
            }
        }
    };
}

pub(crate) use steps;

/// The rest of a line: words of the form `name=value`, in order.
pub(crate) struct Arguments<'a, 'b> {
    pub(crate) words: &'b mut std::str::SplitWhitespace<'a>,
}

impl Arguments<'_, '_> {
    pub(crate) fn next<T: Word>(&mut self, name: &str) -> Option<T> {
        let (found, value) = self.words.next()?.split_once('=')?;
        T::parse(value).filter(|_| found == name)
    }
}

steps! {
    /// What one process or CPU does.
    Step;
    /// A region of so many pages.
    "create" Create { process: usize, handle: usize, pages: u64, flags: RegionFlags };
    /// A capability below another.
    "derive" Derive { process: usize, from: usize, handle: usize, rights: Rights };
    /// The same for a part of a region (in leaf tables), with a budget of capabilities below it, a
    /// badge, an end in time, and perhaps for one use.
    "narrow" Narrow {
        process: usize, from: usize, handle: usize, rights: Rights,
        offset: u64, len: u64, nodes: u32, badge: u64, until: Until, once: bool
    };
    /// Takes rights away in place.
    "reduce" Reduce { process: usize, handle: usize, rights: Rights };
    /// Time passes, in ns.
    "pass" Pass { time: u64 };
    /// Gives a handle back.
    "drop" Drop { process: usize, handle: usize };
    /// Takes back what was derived.
    "revoke" Revoke { process: usize, handle: usize };
    /// The same with the capability itself.
    "revoke_all" RevokeAll { process: usize, handle: usize };
    /// Ends a region.
    "destroy" Destroy { process: usize, handle: usize };
    /// Takes writing away for good.
    "seal" Seal { process: usize, handle: usize };
    /// A snapshot of a part of a region, offset and length in leaf tables.
    "snapshot" Snapshot {
        process: usize, from: usize, handle: usize, offset: u64, len: u64, flags: SnapshotFlags
    };
    /// Fills so many pages of a region; 0 stands for the rest.
    "commit" Commit { process: usize, handle: usize, page: u64, pages: u64 };
    /// Gives so many pages of a region back; 0 stands for the rest.
    "decommit" Decommit { process: usize, handle: usize, page: u64, pages: u64 };
    /// Keeps a region where it is.
    "pin" Pin { process: usize, handle: usize };
    /// Takes one pin back.
    "unpin" Unpin { process: usize, handle: usize };
    /// Maps a part of a region, offset and length in leaf tables.
    "map" Map {
        process: usize, handle: usize, mapping: usize,
        place: Place, guard: bool, offset: u64, len: u64, access: Rights
    };
    /// Unmaps what begins at an address.
    "unmap" Unmap { process: usize, mapping: usize };
    /// Changes what a mapping allows.
    "protect" Protect { process: usize, mapping: usize, access: Rights };
    /// A CPU goes on with a process.
    "enter" Enter { cpu: usize, process: usize };
    /// A CPU has nothing to do.
    "idle" Idle { cpu: usize };
    /// A CPU loads a word of the page so many pages behind an address of its process.
    "load" Load { cpu: usize, mapping: usize, page: u64, word: usize };
    /// A CPU stores such a word.
    "store" Store { cpu: usize, mapping: usize, page: u64, word: usize, value: u64 };
    /// A CPU fetches an instruction from such a page.
    "fetch" Fetch { cpu: usize, mapping: usize, page: u64 };
    /// The kernel reads a word of a region for somebody.
    "read" Read { process: usize, handle: usize, page: u64, word: usize };
    /// The kernel writes a word of a region for somebody.
    "write" Write { process: usize, handle: usize, page: u64, word: usize, value: u64 };
    /// Offers a capability to a process.
    "grant" Grant {
        process: usize, handle: usize, to: usize, token: usize,
        mode: Mode, rights: Rights, flags: GrantFlags, until: Until
    };
    /// Takes what a process has offered.
    "accept" Accept { process: usize, token: usize, from: usize, handle: usize };
    /// Withdraws an offer.
    "cancel" Cancel { process: usize, token: usize };
    /// A process ends.
    "exit" Exit { process: usize };
    /// Another process begins in the place of one that has ended.
    "start" Start { process: usize };
}

/// Steps in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program<S = Step>(pub Vec<S>);

impl<S> Default for Program<S> {
    fn default() -> Self {
        Program(Vec::new())
    }
}

impl<S: fmt::Display> fmt::Display for Program<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl<S: FromStr<Err = ParseError>> FromStr for Program<S> {
    type Err = ParseError;

    /// Empty lines and those that begin with `#` say nothing.
    fn from_str(text: &str) -> Result<Program<S>, ParseError> {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::parse)
            .collect::<Result<Vec<S>, ParseError>>()
            .map(Program)
    }
}

impl Step {
    /// The system call that it is, if it is one.
    pub(crate) fn call(&self) -> Option<Syscall> {
        Some(match self {
            Step::Create { .. } => Syscall::RegionCreate,
            Step::Derive { .. } => Syscall::CapDerive,
            Step::Narrow { .. } => Syscall::CapDeriveWith,
            Step::Reduce { .. } => Syscall::CapReduce,
            Step::Drop { .. } => Syscall::CapDrop,
            Step::Revoke { .. } | Step::RevokeAll { .. } => Syscall::CapRevoke,
            Step::Grant { .. } => Syscall::Grant,
            Step::Accept { .. } => Syscall::Accept,
            Step::Cancel { .. } => Syscall::Cancel,
            Step::Destroy { .. } => Syscall::RegionDestroy,
            Step::Seal { .. } => Syscall::RegionSeal,
            Step::Snapshot { .. } => Syscall::RegionSnapshot,
            Step::Commit { .. } => Syscall::RegionCommit,
            Step::Decommit { .. } => Syscall::RegionDecommit,
            Step::Pin { .. } => Syscall::RegionPin,
            Step::Unpin { .. } => Syscall::RegionUnpin,
            Step::Map { .. } => Syscall::Map,
            Step::Unmap { .. } => Syscall::Unmap,
            Step::Protect { .. } => Syscall::Protect,
            _ => return None,
        })
    }
}
