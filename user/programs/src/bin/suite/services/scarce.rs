//! The name service and the supervisor when something is scarce: room in a session, a quota.

use alloc::sync::Arc;
use alloc::vec::Vec;

use programs::names::TENANT;
use rt::names::Names;
use rt::{Env, Error, Mode, Notification, Region, Resources, Rights, Spawn, Thread};

use super::{ECHO, EXIT, LEAVE, Town, ask, program, soon, start};
use crate::Case;
use crate::check::succeeds;

/// What the name service may have besides what it begins with, in bytes of records: some tens of
/// watches, which is less than one tenant may have.
const ROOM: u64 = 12 << 10;
/// Pages for a family of three processes.
const FAMILY: u64 = 8 * 1024;
/// Less than a process takes to begin.
const PIECE: u64 = 64 * 4096;

pub fn shared_patience(case: &Case) {
    let town = Town::start(case);
    let shared = Arc::new(Names::new(town.session()));
    for _ in 0..3 {
        let threads = [(); 8].map(|()| {
            let names = shared.clone();
            let give_up = move || {
                for _ in 0..6 {
                    let given_up = names.connect(ECHO, rt::in_ms(3));
                    refused!(given_up, Error::TimedOut, "nobody has the name");
                }
            };
            done!(Thread::spawn(give_up), "a thread")
        });
        for thread in threads {
            done!(thread.join(), "joining");
        }
    }
    // All that one may have is there.
    let bell = done!(Notification::create(), "a notification");
    for count in 0..TENANT.watches {
        let watch = shared.watch(ECHO, &bell, 1, 0, soon());
        done!(watch, "a watch besides {count}");
    }
    let watch = shared.watch(ECHO, &bell, 1, 0, soon());
    refused!(watch, Error::Limit, "one more");
    drop(shared);
    town.stop();
}

pub fn scarce(case: &Case) {
    let used = {
        let town = Town::start(case);
        drop(town.session());
        let info = done!(town.process.info(), "process_info");
        town.stop();
        info.used.bytes
    };
    let town = Town::start_within(case, Resources::bytes(used + ROOM));
    let greedy = Names::new(town.session());
    let bell = done!(Notification::create(), "a notification");
    let names = Arc::new(town.names);
    // Whose message can't be received is no longer waited for, which leaves room for one of another's.
    for names in [&greedy, &names] {
        let mut watches = 0;
        let refusal = loop {
            match names.watch(ECHO, &bell, 1, 0, rt::in_ms(20)) {
                Ok(_) => watches += 1,
                Err(error) => break error,
            }
        };
        same!(
            refusal,
            Error::TimedOut,
            "the answer after {watches} watches"
        );
        check!(watches < TENANT.watches, "it was not its quota");
    }
    let waiting = names.clone();
    let ear = Arc::new(done!(Notification::create(), "a notification"));
    let hears = ear.clone();
    let watch = move || waiting.watch(ECHO, &hears, 2, 0, soon());
    let watching = done!(Thread::spawn(watch), "a thread");
    refused!(watching.wait(rt::in_ms(5)), Error::TimedOut, "it waits");
    drop(greedy);
    let watch = done!(watching.join(), "joining");
    done!(watch, "a watch when there is room");
    let listener = done!(names.register(ECHO, soon()), "registering");
    same!(ear.wait(soon()), Ok(2), "what the watch tells");
    drop((listener, names));
    succeeds(&town.process);
}

pub fn scarce_restart(case: &Case) {
    let town = Town::start(case);
    let spawn = town
        .child(case, "services.family")
        .handle(town.session().into_handle(), Mode::Move, Rights::all())
        .handle(program(case, "supervisor"), Mode::Share, Rights::all())
        .handle(case.image, Mode::Share, Rights::all())
        .quota(Resources::frames(FAMILY));
    succeeds(&start(spawn));
    town.stop();
}

/// Starts a supervisor with its service, and leaves no memory for the service when that ends.
pub fn family(env: &Env) -> u8 {
    let names = Names::from_handle(env.handle(0));
    let spawn = Spawn::new(env.handle(2), "supervisor")
        .arg(ECHO)
        .arg("child")
        .arg("services.supervised")
        .handle(env.handle(1), Mode::Move, Rights::all())
        .handle(env.handle(3), Mode::Share, Rights::all());
    let supervisor = start(spawn);
    let client = done!(names.connect(ECHO, soon()), "connecting");
    same!(ask(&client, 1), Ok(2), "an answer");
    let mut kept = Vec::with_capacity((FAMILY * 4096 / PIECE) as usize);
    same!(ask(&client, EXIT), Err(Error::PeerClosed), "its end");
    // What the service had comes back a little later, and before its next start.
    let limit = rt::in_ms(25);
    while rt::now_ns() < limit {
        match Region::create(PIECE) {
            Ok(region) => kept.push(region),
            Err(error) => {
                same!(error, Error::Quota, "the last answer");
                done!(rt::sleep_until(rt::in_ms(1)), "sleeping");
            }
        }
    }
    drop(kept);
    let client = done!(names.connect(ECHO, soon()), "connecting again");
    same!(ask(&client, 5), Ok(6), "an answer of the next one");
    same!(ask(&client, LEAVE), Err(Error::PeerClosed), "its end");
    succeeds(&supervisor);
    0
}
