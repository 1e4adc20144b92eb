//! The processes of `search`, and the rings between them.

use alloc::vec;
use alloc::vec::Vec;

use rt::{Error, Handle, Mode, Rights, Spawn};

use super::{MATCHERS, link};

/// What the reader needs of the initrd.
const READ: Rights = Rights::READ.union(Rights::MAP).union(Rights::INSPECT);
const ALL: Rights = Rights::all();

/// The names of the processes, in the order in which they are to be started: who is given something has
/// to be there.
pub const ROLES: [&str; 3 + MATCHERS] = ["collector", "matcher", "matcher", "splitter", "reader"];

/// What a search looks for and where.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// The program.
    pub image: Handle,
    /// The region in which the file is.
    pub initrd: Handle,
    /// Its first byte in the region.
    pub offset: &'a str,
    /// Its length in bytes.
    pub len: &'a str,
    /// The pattern.
    pub text: &'a str,
}

impl<'a> Search<'a> {
    /// The processes of [`ROLES`], with the rings between them, to be started in this order.
    ///
    /// # Errors
    /// Those of making a ring.
    pub fn processes(&self) -> Result<Vec<Spawn<'a>>, Error> {
        let [collector, _, _, splitter, reader] = ROLES;
        let mut collector = Spawn::new(self.image, collector);
        let mut splitter = Spawn::new(self.image, splitter);
        let mut matchers = vec![];
        let (file, from_reader) = link::ring()?;
        splitter = splitter.handle(from_reader, Mode::Move, ALL);
        for role in &ROLES[1..=MATCHERS] {
            let (parts, from_splitter) = link::ring()?;
            let (found, from_matcher) = link::ring()?;
            splitter = splitter.handle(parts, Mode::Move, ALL);
            collector = collector.handle(from_matcher, Mode::Move, ALL);
            let matcher = Spawn::new(self.image, role).arg(self.text);
            let matcher = matcher.handle(from_splitter, Mode::Move, ALL);
            matchers.push(matcher.handle(found, Mode::Move, ALL));
        }
        let reader = Spawn::new(self.image, reader)
            .arg(self.offset)
            .arg(self.len)
            .handle(self.initrd, Mode::Share, READ)
            .handle(file, Mode::Move, ALL);
        let mut processes = vec![collector];
        processes.append(&mut matchers);
        processes.push(splitter);
        processes.push(reader);
        Ok(processes)
    }
}
