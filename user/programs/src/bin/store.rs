//! A service that keeps numbers under numbers, in a region that outlives it: whoever starts it again
//! gives the next one the same region.
//!
//! Handles: the end where clients arrive, and the region.

#![cfg_attr(target_os = "none", no_std, no_main)]

use programs::store::{KEYS, REFUSED, Request, answer};
use programs::{expect, expect_handles};
use rt::names::{Listener, Service};
use rt::{ChannelEnd, Env, Error, ObjectKind, Region, Rights, println};

rt::entry!(run);

/// Clients at once.
const CLIENTS: usize = 64;
/// Bytes of all values.
const BYTES: usize = KEYS as usize * 8;

fn run(env: &Env) -> u8 {
    expect_handles(
        env,
        &[ObjectKind::ChannelEnd, ObjectKind::Region],
        "a supervisor starts it, as `services` shows",
    );
    let listener = Listener::new(ChannelEnd::from_handle(env.handle(0)));
    let region = Region::from_handle(env.handle(1));
    let mapped = region.map(Rights::READ | Rights::WRITE);
    let mut values = expect!(mapped, "store: mapping its region");
    // SAFETY: one store at a time has the region mapped, and this is the one slice of it.
    let Some(values) = (unsafe { values.as_mut_slice(BYTES) }) else {
        return 1;
    };
    let (values, _) = values.as_chunks_mut::<8>();
    let kept = values.iter().filter(|value| **value != [0; 8]).count();
    println!("store: begins with {kept} values");
    let mut service = expect!(Service::new(listener, CLIENTS), "store: a port");
    let error = service.serve(|_, mut received| {
        let Some(mut reply) = received.take_reply() else {
            return;
        };
        let request = received.words().and_then(Request::decode);
        let words = match request {
            Some(Request::Put { key, value }) => {
                values[key as usize] = value.to_le_bytes();
                answer(value)
            }
            Some(Request::Get { key }) => answer(u64::from_le_bytes(values[key as usize])),
            Some(Request::Fault) => answer(read_nothing()),
            Some(Request::Panic) => panic!("a client asked for it"),
            Some(Request::Finish) => answer(0),
            None => REFUSED,
        };
        // Who has gone meanwhile does not need it.
        let _ = reply.send_words(words);
        if request == Some(Request::Finish) {
            rt::exit(0);
        }
    });
    // Its name is gone, and so is the last client: nobody can come any more.
    if error == Error::PeerClosed {
        return 0;
    }
    println!("store: {error}");
    1
}

/// Reads where nothing is ever mapped.
fn read_nothing() -> u64 {
    // SAFETY: there is no memory, so nothing is read: the thread is stopped by its fault.
    unsafe { (16 as *const u64).read_volatile() }
}
