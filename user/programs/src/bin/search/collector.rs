//! Takes what the matchers find, in the order in which the parts were dealt, so that nothing has to be
//! kept, and prints it.
//!
//! Handles: the rings from the matchers.

use alloc::vec::Vec;

use programs::search::{File, Inlet, Message, Shown};
use rt::{Env, Error, println};

use crate::NOT_FOUND;

pub fn run(env: &Env) -> Result<u8, Error> {
    let open = |&end| -> Result<(Inlet, File), Error> {
        let mut inlet = Inlet::open(end)?;
        let file = inlet.file()?;
        Ok((inlet, file))
    };
    let matchers: Result<Vec<(Inlet, File)>, Error> = env.handles().iter().map(open).collect();
    let mut matchers = matchers?;
    let (mut parts, mut lines, mut found, mut found_here) = (0, 0, 0, 0);
    let last = loop {
        let turn = parts as usize % matchers.len();
        let (inlet, file) = &mut matchers[turn];
        match inlet.receive()? {
            Message::Match(line) => {
                let text = line.span.of(file.bytes()).ok_or(Error::PeerFault)?;
                println!("{}:{}", line.line, Shown(text));
                found_here += 1;
            }
            Message::Done {
                lines: count,
                matches,
            } if matches == found_here => {
                parts += 1;
                lines += count;
                found += found_here;
                found_here = 0;
            }
            Message::End { chunks } if chunks == parts => break turn,
            _ => return Err(Error::PeerFault),
        }
    };
    // Who has not said yet that it is done would find nobody to say it to.
    matchers.swap_remove(last);
    for (inlet, _) in &mut matchers {
        match inlet.receive()? {
            Message::End { chunks } if chunks == parts => {}
            _ => return Err(Error::PeerFault),
        }
    }
    println!("search: {found} of {lines} lines, in {parts} parts");
    Ok(if found > 0 { 0 } else { NOT_FOUND })
}
