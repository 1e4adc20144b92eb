//! A client: asks for one step after the other, and checks the answers.
//!
//! Arguments: its number, the tenancy of its seat, and the number of the last step. Handles: its
//! membership, and a region of which the first word tells how many steps it knows to be done. Another
//! life of the same client goes on from there.

use core::sync::atomic::Ordering;

use programs::expect;
use programs::kv::load::{Expected, Step};
use programs::kv::{Answer, MAX_ANSWER, MAX_REQUEST, Request};
use rt::hub::Guest;
use rt::{Env, FOREVER, Region, Rights, println};

/// An answer was not right.
const WRONG: u8 = 1;
/// The server is gone.
const LEFT_ALONE: u8 = 3;

pub fn run(env: &Env) -> u8 {
    let number = |index| env.args().nth(index)?.parse().ok();
    let (Some(client), Some(epoch), Some(steps)) = (number(1), number(2), number(3)) else {
        println!("kv: a client is started by the server alone");
        return 2;
    };
    let region = Region::from_handle(env.handle(1));
    let mapped = region.map(Rights::READ | Rights::WRITE);
    let mapped = expect!(mapped, "kv: client {client}: mapping its region");
    let Some(known) = mapped.word(0) else {
        return WRONG;
    };
    let Ok(mut guest) = Guest::claim(env.handle(0), epoch) else {
        return LEFT_ALONE;
    };
    let first = known.load(Ordering::Relaxed) as u32 + 1;
    let client = client as usize;
    let mut expected = Expected::after(client, first - 1);
    for number in first..=steps {
        let step = Step::of(client, number);
        let (mut request, mut answer) = ([0; MAX_REQUEST], [0; MAX_ANSWER]);
        let operation = step.operation();
        let Some(request) = (Request { number, operation }).encode(&mut request) else {
            return WRONG;
        };
        let sent = guest.send(request, FOREVER);
        let received = sent.and_then(|()| guest.receive(&mut answer, FOREVER));
        let Ok(len) = received else {
            return LEFT_ALONE;
        };
        let answer = Answer::decode(&answer[..len]);
        if !answer.is_some_and(|answer| expected.allows(&step, answer)) {
            println!("kv: client {client}: {step:?} was answered with {answer:?}");
            return WRONG;
        }
        expected.perform(&step);
        known.store(number.into(), Ordering::Relaxed);
    }
    0
}
