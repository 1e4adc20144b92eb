//! Short lives of processes that work together, any of which can end at any moment: the others go on
//! until they notice, and end too.

use alloc::vec::Vec;

use rt::{
    ChannelEnd, Env, Error, Events, FOREVER, Handle, Message, Mode, Notification, Port, Rights,
    Spawn, Thread, Token,
};

use crate::calls::{
    READ_WRITE, cancel, cap_derive, cap_drop, cap_revoke, map, peek, poke, region_create,
    region_destroy, region_pin, region_seal, region_snapshot, region_unpin, unmap,
};

/// The exit status of one that was refused something before all was done is this and the number of the
/// error.
pub const CUT_SHORT: u8 = 64;

/// The exit status of one that got what nobody sent.
pub const FALSE: u8 = 4;

const PAGE: u64 = 4096;
const ALL: Rights = Rights::all();
/// Messages of each kind.
const ROUNDS: u64 = 6;

/// The bit that says that nothing follows.
const LAST: u64 = 1 << 62;

fn some_region(word: u64) -> Result<Handle, Error> {
    let handle = region_create(3 * PAGE, rt::RegionFlags::empty(), u64::MAX)?;
    let at = map(handle, 0, 0, 0, READ_WRITE, rt::MapFlags::empty())?;
    poke(at, word);
    poke(at + 2 * PAGE, word);
    unmap(at)?;
    Ok(handle)
}

/// Looks at a region that was given, and gives it back.
fn look(handle: Handle, word: u64) -> Result<(), Error> {
    let at = map(handle, 0, 0, 0, Rights::READ, rt::MapFlags::empty())?;
    if peek(at) != word || peek(at + 2 * PAGE) != word {
        rt::exit(FALSE);
    }
    unmap(at)?;
    cap_drop(handle)
}

/// Takes, shares and gives back all by itself.
fn alone(image: Handle) -> Result<(), Error> {
    for word in 0..2 {
        let handle = some_region(word)?;
        let copy = region_snapshot(handle, 0, 0, rt::SnapshotFlags::empty())?;
        let derived = cap_derive(handle, ALL)?;
        let narrow = rt::Derive::new(Rights::READ | Rights::MAP).one_shot();
        let narrow = narrow.of(derived)?;
        let at = map(derived, 0, 0, 0, READ_WRITE, rt::MapFlags::GUARD)?;
        poke(at, 7);
        region_pin(copy)?;
        region_unpin(copy)?;
        rt::reduce(derived, Rights::READ)?;
        cap_revoke(handle)?;
        region_seal(handle)?;
        let notification = Notification::create()?;
        let timer = rt::Timer::create(&notification, 1)?;
        timer.set(rt::now_ns() + 1000)?;
        notification.wait(FOREVER)?;
        let port = Port::create()?;
        port.bind(notification.handle(), Events::SIGNALED, 1)?;
        notification.signal(2)?;
        port.next(FOREVER)?;
        let (first, second) = rt::channel(4)?;
        first.send(&mut Message::new(b"to be lost").give(copy), 0)?;
        drop(second);
        cap_drop(narrow)?;
        cap_drop(derived)?;
        region_destroy(handle)?;
    }
    let child = Spawn::new(image, "suite").arg("child").arg("nothing");
    let given = some_region(1)?;
    let child = child.handle(given, Mode::Move, ALL).start()?;
    child.wait(FOREVER)?;
    Ok(())
}

/// Threads that wait, are woken, and end with the process or before it.
fn threads() -> Result<(), Error> {
    let gone = Notification::create()?;
    let here = gone.handle();
    let echo = Thread::spawn(move || {
        let bits = Notification::from_handle(here);
        let seen = bits.wait(FOREVER);
        core::mem::forget(bits);
        seen
    })?;
    let busy = Thread::spawn(|| (0..10).for_each(|_| rt::yield_now()))?;
    gone.signal(4)?;
    busy.join()?;
    match echo.join()? {
        Ok(4) => {}
        Ok(_) => rt::exit(FALSE),
        Err(error) => return Err(error),
    }
    // This one is left behind.
    let waits = Thread::spawn(move || {
        let bits = Notification::from_handle(here);
        let _ = bits.wait(FOREVER);
    })?;
    core::mem::forget((gone, waits));
    Ok(())
}

fn write_ring(end: Handle) -> Result<(), Error> {
    let mut sender = rt::open_sender(end)?;
    for round in 0..ROUNDS {
        let send = |sender: &mut rt::Sender, word: u64| {
            let sent = sender.send(&word.to_le_bytes(), FOREVER);
            sent.map_err(rt::to_abi)
        };
        send(&mut sender, round)?;
        let mode = [Mode::Share, Mode::Move, Mode::CopyOnWrite][round as usize % 3];
        let region = some_region(round)?;
        let token = rt::grant(region, end, mode, ALL)?;
        if mode != Mode::Move {
            cap_drop(region)?;
        }
        send(&mut sender, token.bits())?;
    }
    Ok(())
}

fn read_ring(end: Handle) -> Result<(), Error> {
    let mut receiver = rt::open_receiver(end)?;
    for round in 0..ROUNDS {
        let mut word = [0; 8];
        receiver.receive(&mut word, FOREVER).map_err(rt::to_abi)?;
        if u64::from_le_bytes(word) != round {
            rt::exit(FALSE);
        }
        receiver.receive(&mut word, FOREVER).map_err(rt::to_abi)?;
        let token = Token::from_bits(u64::from_le_bytes(word));
        look(rt::accept(token, end)?, round)?;
    }
    Ok(())
}

/// Calls with words, and with regions that are lent and come back.
fn call(end: &ChannelEnd) -> Result<(), Error> {
    for round in 0..ROUNDS {
        let answer = end.call_words([round, 2, 3, 4], FOREVER)?;
        if answer != [round + 1, 2, 3, 4] {
            rt::exit(FALSE);
        }
    }
    for round in 0..ROUNDS {
        let region = some_region(round)?;
        let request = round.to_le_bytes();
        let mut request = Message::new(&request).give(region);
        let answer = end.call(&mut request, FOREVER)?;
        let [back] = *answer.handles() else {
            rt::exit(FALSE);
        };
        core::mem::forget(answer);
        look(back, round)?;
    }
    Ok(())
}

fn serve(end: &ChannelEnd) -> Result<(), Error> {
    loop {
        let mut request = match end.receive(FOREVER) {
            Err(Error::PeerClosed) => return Ok(()),
            request => request?,
        };
        let Some(mut reply) = request.take_reply() else {
            rt::exit(FALSE);
        };
        if let Some([first, rest @ ..]) = request.words() {
            let [second, third, fourth] = rest;
            reply.send_words([first + 1, second, third, fourth])?;
            continue;
        }
        let [lent] = *request.handles() else {
            rt::exit(FALSE);
        };
        core::mem::forget(request);
        reply.send(&mut Message::new(b"").give(lent))?;
    }
}

/// Calls with words again and again, so that most go from hand to hand where both live on one CPU.
fn call_often(end: &ChannelEnd) -> Result<(), Error> {
    for round in 0..2 * ROUNDS {
        let answer = end.call_words([round, 2, 3, 4], FOREVER)?;
        if answer != [4, 3, 2, round] {
            rt::exit(FALSE);
        }
    }
    Ok(())
}

fn serve_often(end: &ChannelEnd) -> Result<(), Error> {
    match end.serve_words(|[first, second, third, fourth], _| [fourth, third, second, first]) {
        Error::PeerClosed => Ok(()),
        error => Err(error),
    }
}

/// Waits at a port for signals and messages, in any order.
fn watch(bits: &Notification, end: &ChannelEnd) -> Result<(), Error> {
    let port = Port::create()?;
    port.bind(bits.handle(), Events::SIGNALED, 1)?;
    let readable = Events::READABLE | Events::PEER_CLOSED;
    port.bind(end.handle(), readable, 2)?;
    let (mut done, mut received) = (false, 0);
    while !done || received < ROUNDS {
        match port.next(FOREVER)?.key {
            1 => match bits.poll() {
                Ok(seen) => done |= seen & LAST != 0,
                Err(Error::WouldBlock) => {}
                Err(error) => return Err(error),
            },
            _ => match end.receive(0) {
                Ok(message) => {
                    if message.bytes() != received.to_le_bytes() {
                        rt::exit(FALSE);
                    }
                    received += 1;
                }
                Err(Error::WouldBlock) => {}
                Err(error) => return Err(error),
            },
        }
    }
    port.unbind(1)
}

/// What a watcher watches; the notification is told of an end in any case.
fn be_watched(bits: &Notification, end: &ChannelEnd) -> Result<(), Error> {
    for round in 0..ROUNDS {
        bits.signal(1 << round)?;
        end.send(&mut Message::new(&round.to_le_bytes()), FOREVER)?;
    }
    bits.signal(LAST)?;
    // So that all that was sent can be received.
    until_closed(end)
}

fn until_closed(end: &ChannelEnd) -> Result<(), Error> {
    match end.receive(FOREVER) {
        Ok(_) => rt::exit(FALSE),
        Err(Error::PeerClosed) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Offers much and takes some of it back; the rest is pending when it ends.
fn offer(end: &ChannelEnd) -> Result<(), Error> {
    let mut offers = Vec::new();
    for round in 0..ROUNDS {
        let mode = [Mode::Share, Mode::Move, Mode::CopyOnWrite][round as usize % 3];
        let token = rt::grant(some_region(round)?, end.handle(), mode, ALL)?;
        offers.push(token.bits());
    }
    cancel(Token::from_bits(offers[0]))?;
    cancel(Token::from_bits(offers[1]))?;
    end.send_words([offers[2], 2, offers[4], 4], FOREVER)?;
    until_closed(end)
}

fn take(end: &ChannelEnd) -> Result<(), Error> {
    let message = end.receive(FOREVER)?;
    let Some([first, second, third, fourth]) = message.words() else {
        rt::exit(FALSE);
    };
    for (token, word) in [(first, second), (third, fourth)] {
        look(rt::accept(Token::from_bits(token), end.handle())?, word)?;
    }
    Ok(())
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    let handle = |index| env.handle(index);
    let end = |index| ChannelEnd::from_handle(env.handle(index));
    let bits = |index| Notification::from_handle(env.handle(index));
    let lived = match role {
        "alone" => alone(handle(0)),
        "threads" => threads(),
        "write_ring" => write_ring(handle(0)),
        "read_ring" => read_ring(handle(0)),
        "call" => call(&end(0)),
        "serve" => serve(&end(0)),
        "call_often" => call_often(&end(0)),
        "serve_often" => serve_often(&end(0)),
        "watch" => watch(&bits(0), &end(1)),
        "be_watched" => be_watched(&bits(0), &end(1)),
        "offer" => offer(&end(0)),
        "take" => take(&end(0)),
        _ => return None,
    };
    Some(match lived {
        Ok(()) => 0,
        Err(error) => CUT_SHORT + error as u8,
    })
}
