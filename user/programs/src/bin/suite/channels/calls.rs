//! Calls and their answers, and how they end when one side does.

use abi::UserPtr;
use rt::{ChannelEnd, Env, Error, FOREVER, Handle, Message, Received, Thread, ThreadSpawn, sys};

use super::{child, pair};
use crate::Case;
use crate::calls::{READ_WRITE, cap_drop, cap_info, map_all, peek, poke, region, unmap};
use crate::check::{exits, other_cpu, succeeds};

pub fn ten_thousand_calls(case: &Case) {
    for cpus in [1, other_cpu()] {
        let (here, there) = pair(1);
        let server = child(case, "serve_sums", there, cpus);
        for index in 0..5000 {
            let answer = here.call_words([index, 1, 2, 3], FOREVER);
            same!(answer, Ok([index + 6, index, 0, 0]), "call {index}");
        }
        drop(here);
        succeeds(&server);
    }
}

pub fn calls_with_capabilities(case: &Case) {
    serve_regions(case, "serve_regions");
}

pub fn cancelled_in_turn(_: &Case) {
    const CANCELLED: u64 = 5;
    let (here, there) = done!(rt::channel(4), "a channel");
    // On the CPU of who serves: from the third one on they go from hand to hand.
    let caller = ThreadSpawn::new().cpus(1).start(move || {
        for turn in 0..10 {
            let answer = here.call_words([turn, 2, 3, 4], FOREVER);
            match turn {
                CANCELLED => refused!(answer, Error::Cancelled, "the call that was cancelled"),
                _ => same!(done!(answer, "a call"), [turn, 5, 6, 7], "its answer"),
            }
        }
    });
    let caller = done!(caller, "a thread");
    let ended = there.serve_words(|[turn, ..], _| {
        if turn == CANCELLED {
            done!(caller.cancel_wait(), "cancelling the wait for this answer");
        }
        [turn, 5, 6, 7]
    });
    same!(ended, Error::PeerClosed, "the end of serving");
    done!(caller.join(), "its end");
}

pub fn answers_in_turn(case: &Case) {
    serve_regions(case, "serve_regions_in_turn");
    // Whoever has answered and then waited in vain has no right any more.
    let (here, there) = pair(1);
    let server = child(case, "serve_one_in_time", there, 1);
    let answer = done!(here.call(&mut Message::new(b"one"), FOREVER), "a call");
    same!(answer.bytes(), b"two", "its answer");
    drop(here);
    succeeds(&server);
}

fn serve_regions(case: &Case, role: &'static str) {
    for cpus in [1, other_cpu()] {
        let (here, there) = pair(1);
        let server = child(case, role, there, cpus);
        for index in 0..200 {
            let mut moved = region(4096);
            let va = map_all(moved, READ_WRITE);
            poke(va, index);
            done!(unmap(va), "unmapping");
            let mut request = Message::new(b"add one").give(moved);
            let mut answer = done!(here.call(&mut request, FOREVER), "call {index}");
            refused!(cap_info(moved), Error::BadHandle, "what was given away");
            moved = done!(take_first(&mut answer).ok_or(Error::NotFound), "it is back");
            let va = map_all(moved, READ_WRITE);
            same!(peek(va), index + 1, "what the server wrote");
            done!(unmap(va), "unmapping again");
            done!(cap_drop(moved), "dropping");
        }
        drop(here);
        succeeds(&server);
    }
}

/// The first capability of a message.
fn take_first(received: &mut Received) -> Option<Handle> {
    received.take::<rt::Region>(0).map(Handle::from)
}

pub fn one_reply(case: &Case) {
    let (here, there) = pair(2);
    // Answered, and answered once more.
    let caller = child(case, "call_twice", there, other_cpu());
    let first = done!(here.receive_words(), "the first call");
    let mut reply = done!(first.reply.ok_or(Error::NotFound), "a right to reply");
    let used = reply.handle();
    done!(reply.send_words([7, 0, 0, 0]), "answering");
    // SAFETY: the call touches no memory.
    let again = unsafe { sys::channel_reply_words(used, 8, 0, 0, 0) };
    refused!(again, Error::BadHandle, "a second answer");
    // Dropped unused: the caller learns it.
    let second = done!(here.receive_words(), "the second call");
    drop(second.reply);
    succeeds(&caller);
}

pub fn caller_gone(case: &Case) {
    for role in ["call_shortly", "call_for_ever"] {
        let (here, there) = pair(2);
        let caller = child(case, role, there, other_cpu());
        let call = done!(here.receive_words(), "a call");
        let mut reply = done!(call.reply.ok_or(Error::NotFound), "a right to reply");
        if role == "call_for_ever" {
            done!(caller.kill(), "killing the caller");
            let _ = caller.wait(FOREVER);
        } else {
            succeeds(&caller);
        }
        let late = reply.send_words([0; 4]);
        refused!(late, Error::Cancelled, "an answer to nobody");
        refused!(here.receive(FOREVER), Error::PeerClosed, "it is gone");
    }
}

pub fn server_gone(case: &Case) {
    let (here, there) = pair(2);
    let server = child(case, "receive_and_exit", there, other_cpu());
    let answer = here.call_words([0; 4], FOREVER);
    refused!(answer, Error::PeerClosed, "a server that ends");
    exits(&server, 3);
    let answer = here.call_words([0; 4], FOREVER);
    refused!(answer, Error::PeerClosed, "a server that has ended");
    // One that loses its end while it serves has not answered, and keeps nobody waiting.
    let (here, there) = pair(2);
    let caller = done!(
        Thread::spawn(move || here.call_words([0; 4], FOREVER)),
        "a thread"
    );
    let handle = there.handle();
    let ended = there.serve_words(|_, _| {
        done!(cap_drop(handle), "dropping the end");
        [1; 4]
    });
    same!(ended, Error::BadHandle, "why serving ended");
    let answer = done!(caller.join(), "what the caller got");
    refused!(answer, Error::PeerClosed, "a server without its end");
}

/// The roles of children here.
pub fn child_role(role: &str, env: &Env) -> Option<u8> {
    let end = || ChannelEnd::from_handle(env.handle(0));
    match role {
        "serve_sums" => {
            let error = end().serve_words(|[a, b, c, d], _| [a + b + c + d, a, 0, 0]);
            same!(error, Error::PeerClosed, "why serving ended");
        }
        "serve_regions" => {
            let error = end().serve(|mut request| {
                let region = done!(take_first(&mut request).ok_or(Error::NotFound), "a region");
                let va = map_all(region, READ_WRITE);
                poke(va, peek(va) + 1);
                done!(unmap(va), "unmapping it");
                let mut reply = done!(request.take_reply().ok_or(Error::NotFound), "a call");
                done!(reply.send(&mut Message::new(b"").give(region)), "answering");
            });
            same!(error, Error::PeerClosed, "why serving ended");
        }
        "serve_regions_in_turn" => {
            let (end, mut reply, mut back) = (end(), None, Message::new(b""));
            let ended = loop {
                let mut request = match end.reply_and_receive(&mut reply, &mut back, FOREVER) {
                    Ok(request) => request,
                    Err(error) => break error,
                };
                let region = done!(take_first(&mut request).ok_or(Error::NotFound), "a region");
                let va = map_all(region, READ_WRITE);
                poke(va, peek(va) + 1);
                done!(unmap(va), "unmapping it");
                reply = request.take_reply();
                back = Message::new(b"").give(region);
            };
            same!(ended, Error::PeerClosed, "why serving ended");
        }
        "serve_one_in_time" => {
            let end = end();
            let mut request = done!(end.receive(FOREVER), "the call");
            let mut reply = request.take_reply();
            let mut answer = Message::new(b"two");
            let late = end.reply_and_receive(&mut reply, &mut answer, rt::in_ms(1));
            check!(reply.is_none(), "the right is used up");
            check!(
                matches!(late, Err(Error::TimedOut | Error::PeerClosed)),
                "nothing else came"
            );
            let mut nothing = Message::new(b"");
            let closed = end.reply_and_receive(&mut reply, &mut nothing, FOREVER);
            refused!(closed, Error::PeerClosed, "after the last message");
        }
        "call_twice" => {
            let end = end();
            same!(
                end.call_words([1; 4], FOREVER),
                Ok([7, 0, 0, 0]),
                "answered"
            );
            let dropped = end.call_words([2; 4], FOREVER);
            refused!(dropped, Error::PeerClosed, "not answered");
        }
        "call_shortly" => {
            let late = end().call_words([1; 4], rt::in_ms(20));
            refused!(late, Error::TimedOut, "nobody answers");
        }
        "call_for_ever" => {
            let _ = end().call_words([1; 4], FOREVER);
        }
        "receive_and_exit" => {
            done!(end().receive_words(), "a call");
            rt::exit(3);
        }
        _ => return None,
    }
    Some(0)
}

pub fn answers_of_nothing(_: &Case) {
    let (here, there) = done!(rt::channel(1), "a channel");
    let caller = ThreadSpawn::new().cpus(1).start(move || {
        for wanted in [Err(Error::TooLarge), Err(Error::TooLarge), Ok(())] {
            let (none, end) = (UserPtr::new(0), here.handle());
            // SAFETY: nothing is read or written at the address 0.
            let answer = unsafe { sys::channel_call(end, none, none, FOREVER) };
            same!(answer, wanted, "an answer that has to be empty");
        }
    });
    let caller = done!(caller, "a thread");
    let asked = || {
        let mut call = done!(there.receive(FOREVER), "a call");
        done!(call.take_reply().ok_or(Error::NotFound), "the right")
    };
    let told = asked().send_words([1, 2, 3, 4]);
    refused!(told, Error::TooLarge, "four words");
    // And waits for the next message, which is no words.
    let (right, end) = (asked().into_handle(), there.handle());
    // SAFETY: the call touches no memory.
    let next = unsafe { sys::channel_serve_words(end, right, 1, 2, 3, 4) };
    check!(next == Err(Error::TooLarge), "the next call is not words");
    done!(asked().send(&mut Message::new(b"")), "an empty answer");
    done!(caller.join(), "its end");
}
