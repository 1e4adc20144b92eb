//! A revoke beside everything that can be done with what is below, in another process: from the moment at
//! which it returns nothing of that works, whatever was under way.

mod hubs;

use rt::{
    ChannelEnd, Env, Error, FOREVER, Handle, Message, Mode, Notification, Process, ProcessState,
    Rights, Token,
};

pub use hubs::hubs;

use crate::Case;
use crate::calls::{
    READ_WRITE, cap_derive, cap_drop, cap_info, cap_revoke, map, map_all, peek, poke, region,
    region_decommit, region_info, region_snapshot, unmap, yield_now,
};
use crate::check::{PAGE_FAULT, other_cpu, wait};

const ALL: Rights = Rights::all();
const PAGE: u64 = 4096;
/// What the owner writes when nobody else can.
const MINE: u64 = 77;
/// How long the other is let work before the revoke, in ns.
const PAUSES: [u64; 8] = [0, 3_000, 7_000, 15_000, 30_000, 60_000, 100_000, 200_000];

/// What belongs to the owner.
struct Owner {
    region: Handle,
    /// Where it is mapped.
    mapped: u64,
    bits: Notification,
    /// An end at which nobody answers, and its peer.
    ends: (ChannelEnd, ChannelEnd),
}

impl Owner {
    fn new() -> Owner {
        let region = region(3 * PAGE);
        Owner {
            region,
            mapped: map_all(region, READ_WRITE),
            bits: done!(Notification::create(), "a notification"),
            ends: done!(rt::channel(4), "a channel"),
        }
    }

    /// Starts a process that does something with what it is given until it is refused.
    fn start(&self, case: &Case, deed: &str, cpus: u64) -> Process {
        let child = case.child("race").arg(deed);
        let child = child
            .handle(self.region, Mode::Share, ALL)
            .handle(self.bits.handle(), Mode::Share, ALL)
            .handle(self.ends.0.handle(), Mode::Share, ALL);
        done!(child.cpus(cpus).start(), "a child")
    }

    /// Takes back all that it was given, and looks whether it has gone at once.
    fn revoke(&self) {
        let tops = [self.region, self.bits.handle(), self.ends.0.handle()];
        for top in tops {
            done!(cap_revoke(top), "revoking");
            same!(
                done!(cap_info(top), "facts").descendants,
                0,
                "what is below"
            );
        }
        let info = done!(region_info(self.region), "region_info");
        same!(info.mappings, 1, "mappings of the region");
        poke(self.mapped, MINE);
    }
}

/// Revokes again and again what a process works with.
fn race(case: &Case, deed: &str) {
    let owner = Owner::new();
    let word = owner.mapped + PAGE / 2;
    for (round, pause) in PAUSES.into_iter().enumerate() {
        poke(word, 0);
        let cpus = [other_cpu(), 1][round % 2];
        let child = owner.start(case, deed, cpus);
        crate::check::eventually("the child to begin", || peek(word) != 0);
        done!(rt::sleep_until(rt::now_ns() + pause), "sleeping");
        owner.revoke();
        let ended = wait(&child);
        let refused = ended.state == ProcessState::Exited as u32 && ended.status == 0;
        let faulted = ended.state == ProcessState::Faulted as u32 && ended.vector == PAGE_FAULT;
        check!(refused || faulted, "{deed} in round {round}: {ended:?}");
        same!(peek(owner.mapped), MINE, "what nobody else can write");
    }
    done!(unmap(owner.mapped), "unmapping");
    done!(cap_drop(owner.region), "dropping");
}

/// What a process has been given, and a channel of its own.
struct Given {
    region: Handle,
    /// Where it is mapped.
    mapped: u64,
    bits: Handle,
    end: ChannelEnd,
    ends: (ChannelEnd, ChannelEnd),
}

impl Given {
    /// Offers something to this very process.
    fn offer(&self, handle: Handle, mode: Mode) -> Result<Token, Error> {
        rt::grant(handle, self.ends.0.handle(), mode, ALL)
    }

    fn accept(&self, token: Token) -> Result<Handle, Error> {
        rt::accept(token, self.ends.1.handle())
    }
}

/// A turn of something that can be done until it is refused.
type Deed = fn(&Given) -> Result<(), Error>;

fn derive_and_drop(given: &Given) -> Result<(), Error> {
    let derived = cap_derive(given.region, ALL)?;
    let below = cap_derive(derived, READ_WRITE)?;
    cap_drop(derived)?;
    cap_drop(below)
}

fn grant_and_cancel(given: &Given) -> Result<(), Error> {
    let token = given.offer(given.region, Mode::Share)?;
    crate::calls::cancel(token)
}

fn grant_and_accept(given: &Given) -> Result<(), Error> {
    let token = given.offer(given.region, Mode::Share)?;
    cap_drop(given.accept(token)?)
}

fn map_and_unmap(given: &Given) -> Result<(), Error> {
    let at = map(given.region, 0, 0, 0, READ_WRITE, rt::MapFlags::empty())?;
    poke(at + PAGE, 1);
    unmap(at)
}

fn touch(given: &Given) -> Result<(), Error> {
    region_decommit(given.region, PAGE, 2 * PAGE)?;
    poke(given.mapped + PAGE, 1);
    poke(given.mapped + 2 * PAGE, 1);
    Ok(())
}

fn give_and_accept(given: &Given) -> Result<(), Error> {
    let derived = cap_derive(given.bits, ALL)?;
    let token = given.offer(derived, Mode::Move)?;
    cap_drop(given.accept(token)?)
}

fn copy_and_accept(given: &Given) -> Result<(), Error> {
    let token = given.offer(given.region, Mode::CopyOnWrite)?;
    cap_drop(given.accept(token)?)
}

fn take_snapshot(given: &Given) -> Result<(), Error> {
    let copy = region_snapshot(given.region, 0, 0, rt::SnapshotFlags::empty())?;
    cap_drop(copy)
}

fn send_and_receive(given: &Given) -> Result<(), Error> {
    let mut message = Message::new(b"it").share(given.region, ALL);
    given.ends.0.send(&mut message, 0)?;
    // What was revoked on the way is received as nothing; else it is dropped.
    given.ends.1.receive(0).map(drop)
}

fn call_for_ever(given: &Given) -> Result<(), Error> {
    let called = given.end.call_words([1, 2, 3, 4], FOREVER);
    called.map(drop)
}

fn wait_for_ever(given: &Given) -> Result<(), Error> {
    let bits = Notification::from_handle(given.bits);
    let waited = bits.wait(FOREVER).map(drop);
    core::mem::forget(bits);
    waited
}

fn drop_it(given: &Given) -> Result<(), Error> {
    cap_drop(given.region)?;
    cap_drop(given.bits)?;
    Err(Error::BadHandle)
}

fn end(_: &Given) -> Result<(), Error> {
    rt::exit(0)
}

/// Cases, each of something that a process does.
macro_rules! races {
    ($($name:ident: $deed:ident;)*) => {
        $(pub fn $name(case: &Case) {
            race(case, stringify!($name));
        })*

        fn find(name: &str) -> Option<Deed> {
            match name {
                $(stringify!($name) => Some($deed),)*
                _ => None,
            }
        }
    };
}

races! {
    derive: derive_and_drop;
    offer: grant_and_cancel;
    accept: grant_and_accept;
    mapping: map_and_unmap;
    fault: touch;
    moves: give_and_accept;
    copy: copy_and_accept;
    snapshot: take_snapshot;
    dropping: drop_it;
    exit: end;
    send: send_and_receive;
    call: call_for_ever;
    waits: wait_for_ever;
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    if role != "race" {
        return hubs::child(role, env);
    }
    let deed = env.args().nth(3).and_then(find)?;
    let region = env.handle(0);
    let given = Given {
        region,
        mapped: map_all(region, READ_WRITE),
        bits: env.handle(1),
        end: ChannelEnd::from_handle(env.handle(2)),
        ends: done!(rt::channel(4), "a channel"),
    };
    poke(given.mapped + PAGE / 2, 1);
    loop {
        match deed(&given) {
            Ok(()) => yield_now(),
            // A handle of what was revoked on the way never was one.
            Err(Error::Revoked | Error::BadHandle | Error::NotFound) => return Some(0),
            Err(error) => {
                rt::println!("{role}: {error}");
                return Some(1);
            }
        }
    }
}
