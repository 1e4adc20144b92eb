//! A client: asks for one step after the other, and checks the answers.
//!
//! Arguments: its account, and the number of the last step. Handles: a session with the name service, and a
//! region of which the first word tells how many steps it knows to be done and the second how often it has
//! found a server. Another life of the same client goes on from there.

use core::sync::atomic::Ordering;

use programs::kv::load::{Expected, Step};
use programs::kv::member::{Lost, Member};
use programs::kv::{Answer, Request};
use programs::{expect, expect_handles};
use rt::names::Names;
use rt::{Env, Error, ObjectKind, Region, Rights, println};

/// An answer was not right.
const WRONG: u8 = 1;
/// There will be no server any more.
const LEFT_ALONE: u8 = 3;
/// Servers that may be lost one after the other without an answer: each is tried for a moment only when it
/// has no seat.
const LOSSES: u32 = 10_000;

pub fn run(env: &Env) -> u8 {
    let number = |index| env.args().nth(index)?.parse().ok();
    let (Some(account), Some(steps)) = (number(1), number(2)) else {
        println!("kv: a client is started by `kv` alone");
        return 2;
    };
    expect_handles(
        env,
        &[ObjectKind::ChannelEnd, ObjectKind::Region],
        "`kv` starts it",
    );
    let names = Names::from_handle(env.handle(0));
    let region = Region::from_handle(env.handle(1));
    let mapped = region.map(Rights::READ | Rights::WRITE);
    let mapped = expect!(mapped, "kv: client {account}: mapping its region");
    let (Some(known), Some(joined)) = (mapped.word(0), mapped.word(1)) else {
        return WRONG;
    };
    let first = known.load(Ordering::Relaxed) as u32 + 1;
    let mut expected = Expected::after(account as usize, first - 1);
    let mut member = None;
    let mut losses = 0;
    for number in first..=steps {
        let step = Step::of(account as usize, number);
        let operation = step.operation();
        let answer = loop {
            let asked = match &mut member {
                Some(member) => Member::request(member, &Request { number, operation }),
                None => match Member::join(&names, account) {
                    Ok(found) => {
                        joined.fetch_add(1, Ordering::Relaxed);
                        member = Some(found);
                        continue;
                    }
                    Err(lost) => Err(lost),
                },
            };
            match asked {
                Ok(answer) => break answer,
                Err(Lost::Server) if losses < LOSSES => {
                    losses += 1;
                    member = None;
                }
                Err(Lost::Server | Lost::All(Error::PeerClosed)) => return LEFT_ALONE,
                Err(Lost::All(error)) => {
                    println!("kv: client {account}: {error}");
                    return WRONG;
                }
            }
        };
        losses = 0;
        let answer = Answer::decode(&answer);
        if !answer.is_some_and(|answer| expected.allows(&step, answer)) {
            println!("kv: client {account}: step {number} was not answered as it had to be");
            return WRONG;
        }
        expected.perform(&step);
        known.store(number.into(), Ordering::Relaxed);
    }
    0
}
