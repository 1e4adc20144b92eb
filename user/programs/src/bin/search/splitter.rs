//! Cuts the file into parts of whole lines, and deals them to the matchers in turn.
//!
//! Handles: the ring from the reader, and those to the matchers.

use alloc::vec::Vec;

use programs::search::{CHUNK, HAND_ON, Inlet, Message, Outlet, chunks};
use rt::{Env, Error};

pub fn run(env: &Env) -> Result<u8, Error> {
    let file = Inlet::open(env.handle(0))?.file()?;
    let ends = env.handles().iter().skip(1);
    let matchers: Result<Vec<Outlet>, Error> = ends.map(|&end| Outlet::open(end)).collect();
    let mut matchers = matchers?;
    for matcher in &mut matchers {
        matcher.share(&file, HAND_ON)?;
    }
    let mut count = 0;
    for chunk in chunks(file.bytes(), CHUNK) {
        let turn = count as usize % matchers.len();
        matchers[turn].send(&Message::Chunk(chunk))?;
        count += 1;
    }
    for matcher in &mut matchers {
        matcher.send(&Message::End { chunks: count })?;
    }
    Ok(0)
}
