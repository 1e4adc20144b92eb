//! The name service: the first program that init starts for others.

use programs::expect;
use rt::names::Names;
use rt::{ChannelEnd, FOREVER, Mode, Process, Rights, Spawn, channel};

use crate::Initrd;

/// Messages that the first session queues.
const SESSION: u32 = 4;

/// The name service, with the first session.
pub struct NameService {
    _process: Process,
    first: Names,
}

impl NameService {
    /// Starts it.
    pub fn start(initrd: &Initrd) -> NameService {
        let (first, end) = expect!(channel(SESSION), "init: a channel");
        let spawn = Spawn::new(initrd.image("names"), "names").handle(
            end.into_handle(),
            Mode::Move,
            Rights::all(),
        );
        NameService {
            _process: expect!(spawn.start(), "init: starting the name service"),
            first: Names::new(first),
        }
    }

    /// A session for a program, with limits of its own.
    pub fn session(&self) -> ChannelEnd {
        expect!(self.first.attach(FOREVER), "init: a session")
    }
}
