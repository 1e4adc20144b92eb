//! The name service and the supervisor, with clients and services of every kind.

mod hostile;
mod scarce;

use alloc::sync::Arc;

use programs::names::TENANT;
use programs::supervision::RESTARTS;
use rt::names::protocol::{MAX_REQUEST, Name, Request};
use rt::names::{Listener, Names, Service};
use rt::{
    ChannelEnd, Env, Error, FOREVER, Handle, Message, Mode, Mutex, Notification, Process,
    Resources, Rights, Spawn, Thread, ThreadSpawn, channel,
};

pub use hostile::hostile;
pub use scarce::{scarce, scarce_restart, shared_patience};

use crate::Case;
use crate::check::{SOON_MS, eventually, exits, other_cpu, succeeds, wait};
use crate::objects::image_of;

/// The name of the service of these cases, which answers with each word and 1 more.
const ECHO: &str = "echo";
/// First words by which a client has the echo do something else: touch what it does not have, exit with
/// a status, never answer, exit for good.
const FAULT: u64 = 1 << 62;
const EXIT: u64 = FAULT + 1;
const HANG: u64 = FAULT + 2;
const LEAVE: u64 = FAULT + 3;

fn soon() -> u64 {
    rt::in_ms(SOON_MS)
}

fn start(spawn: Spawn<'_>) -> Process {
    done!(spawn.start(), "starting a child")
}

/// The image of a program of the initrd.
fn program(case: &Case, name: &str) -> Handle {
    done!(image_of(case.initrd, name), "the program {name}")
}

/// A name service with its first session.
struct Town {
    process: Process,
    names: Names,
}

impl Town {
    fn start(case: &Case) -> Town {
        Town::start_within(case, Resources::NONE)
    }

    /// One with a quota, if that is not none.
    fn start_within(case: &Case, quota: Resources) -> Town {
        let (first, end) = done!(channel(4), "a channel");
        let spawn = Spawn::new(program(case, "names"), "names")
            .handle(end.into_handle(), Mode::Move, Rights::all())
            .quota(quota)
            .cpus(other_cpu());
        Town {
            process: start(spawn),
            names: Names::new(first),
        }
    }

    /// A session for somebody else.
    fn session(&self) -> ChannelEnd {
        done!(self.names.attach(soon()), "a session")
    }

    /// A child with a session.
    fn child(&self, case: &Case, role: &str) -> Spawn<'static> {
        let session = self.session().into_handle();
        case.child(role).handle(session, Mode::Move, Rights::all())
    }

    /// Ends it: it has to notice that nobody is left.
    fn stop(self) {
        drop(self.names);
        succeeds(&self.process);
    }
}

pub fn names(case: &Case) {
    let town = Town::start(case);
    let (names, other) = (&town.names, Names::new(town.session()));
    refused!(
        names.look_up(ECHO, soon()),
        Error::NotFound,
        "not there yet"
    );
    refused!(names.register("", soon()), Error::Invalid, "no name");
    refused!(names.register("a b", soon()), Error::Invalid, "no name");
    let listener = done!(names.register(ECHO, soon()), "registering");
    refused!(names.register(ECHO, soon()), Error::Exists, "twice");
    refused!(other.register(ECHO, soon()), Error::Exists, "twice");
    refused!(other.withdraw(ECHO, soon()), Error::NotFound, "another's");

    // With both ends of a channel it would keep them for ever.
    let (first, second) = done!(channel(1), "a channel");
    done!(names.register_end("one", first, soon()), "one end");
    refused!(
        names.register_end("two", second, soon()),
        Error::Invalid,
        "both"
    );
    eventually("the name of a closed end to go", || {
        other.look_up("one", soon()).err() == Some(Error::NotFound)
    });

    let client = done!(other.look_up(ECHO, soon()), "looking up");
    let served = done!(listener.accept(soon()), "the client");
    done!(client.send_words([1, 2, 3, 4], soon()), "to the service");
    let received = done!(served.receive(soon()), "from the client");
    same!(received.words(), Some([1, 2, 3, 4]), "what came");

    done!(names.withdraw(ECHO, soon()), "withdrawing");
    refused!(names.withdraw(ECHO, soon()), Error::NotFound, "twice");
    refused!(other.look_up(ECHO, soon()), Error::NotFound, "withdrawn");
    refused!(
        listener.accept(soon()),
        Error::PeerClosed,
        "no more clients"
    );
    done!(client.send_words([0; 4], soon()), "who is connected stays");

    // An end where nobody receives, and a session that ends, take their names along, and who has not
    // been accepted hears of it.
    let listener = done!(names.register(ECHO, soon()), "registering");
    let client = done!(other.look_up(ECHO, soon()), "looking up");
    drop(listener);
    refused!(client.receive(soon()), Error::PeerClosed, "nobody took it");
    let listener = done!(other.register(ECHO, soon()), "the end is closed");
    drop(other);
    eventually("the name to go", || {
        names.look_up(ECHO, soon()).err() == Some(Error::NotFound)
    });
    // Who was looking at the moment may have been introduced.
    while listener.accept(soon()).is_ok() {}
    town.stop();
}

pub fn watch(case: &Case) {
    let town = Town::start(case);
    let names = &town.names;
    let bell = done!(Notification::create(), "a notification");
    let hears = |bits: u64| {
        let mut heard = 0;
        while heard != bits {
            heard |= done!(bell.wait(soon()), "waiting for {bits:#b} after {heard:#b}");
            same!(heard & !bits, 0, "what was not to be heard");
        }
    };
    let first = done!(names.watch(ECHO, &bell, 1, 2, soon()), "watching");
    same!(done!(bell.poll(), "polling"), 0, "what is not there");
    let listener = done!(names.register(ECHO, soon()), "registering");
    hears(1);
    let second = done!(names.watch(ECHO, &bell, 4, 8, soon()), "watching");
    hears(4);
    drop(listener);
    hears(2 | 8);
    done!(names.unwatch(first, soon()), "taking it back");
    refused!(names.unwatch(first, soon()), Error::NotFound, "twice");
    let other = Names::new(town.session());
    refused!(other.unwatch(second, soon()), Error::NotFound, "another's");
    let listener = done!(other.register(ECHO, soon()), "registering");
    hears(4);
    done!(other.withdraw(ECHO, soon()), "withdrawing");
    hears(8);
    drop((listener, other));
    // Who waits for a name finds it when it comes.
    let child = start(town.child(case, "services.ask").arg("3").cpus(other_cpu()));
    refused!(child.wait(rt::in_ms(20)), Error::TimedOut, "it waits");
    let echo = start(town.child(case, "services.echo"));
    succeeds(&child);
    kill(&echo);
    town.stop();
}

pub fn patience(case: &Case) {
    let town = Town::start(case);
    let session = town.session();
    let bell = done!(Notification::create(), "a notification");
    // As often as would use up what it may have, and once more.
    let mut buffer = [0; MAX_REQUEST];
    let name = done!(Name::new(ECHO).ok_or(Error::Invalid), "a name");
    let (appeared, gone) = (1, 0);
    let watch = Request::Watch {
        name,
        appeared,
        gone,
    };
    let request = watch.encode(&mut buffer);
    for _ in 0..=TENANT.watches {
        let rights = Rights::SIGNAL | Rights::GRANT | Rights::DUPLICATE;
        let signal = done!(rt::derive(bell.handle(), rights), "deriving");
        let mut message = Message::new(request).pass(signal);
        done!(session.send(&mut message, soon()), "what nobody answers");
    }
    let names = Names::new(session);
    for _ in 0..=TENANT.watches {
        let given_up = names.connect(ECHO, rt::in_ms(1));
        refused!(given_up, Error::TimedOut, "nobody has the name");
    }
    done!(names.watch(ECHO, &bell, 1, 0, soon()), "a watch");
    drop(names);
    town.stop();
}

pub fn bereft(case: &Case) {
    let town = Town::start(case);
    let waiting = [(); 2].map(|()| {
        let names = Names::new(town.session());
        let connecting = move || names.connect(ECHO, soon()).err();
        done!(Thread::spawn(connecting), "a thread")
    });
    for thread in &waiting {
        refused!(thread.wait(rt::in_ms(5)), Error::TimedOut, "it waits");
    }
    kill(&town.process);
    for thread in waiting {
        same!(
            done!(thread.join(), "joining"),
            Some(Error::PeerClosed),
            "what it heard"
        );
    }
}

pub fn reconnect(case: &Case) {
    let town = Town::start(case);
    for cpus in [1, other_cpu()] {
        let echo = start(town.child(case, "services.echo").cpus(cpus));
        let client = done!(town.names.connect(ECHO, soon()), "connecting");
        same!(ask(&client, 1), Ok(2), "an answer");
        // Of two that wait for an answer the service has one's call; the other's is still queued.
        let asking = [(); 2].map(|()| {
            let client = done!(town.names.connect(ECHO, soon()), "connecting");
            done!(Thread::spawn(move || ask(&client, HANG)), "a thread")
        });
        for thread in &asking {
            refused!(thread.wait(rt::in_ms(5)), Error::TimedOut, "it waits");
        }
        kill(&echo);
        for thread in asking {
            same!(
                done!(thread.join(), "joining"),
                Err(Error::PeerClosed),
                "the call of a service that died"
            );
        }
        same!(ask(&client, 1), Err(Error::PeerClosed), "the connection");
        let next = start(town.child(case, "services.echo").cpus(cpus));
        let client = done!(town.names.connect(ECHO, soon()), "connecting again");
        same!(ask(&client, 5), Ok(6), "an answer of the next one");
        kill(&next);
    }
    town.stop();
}

pub fn many_clients(case: &Case) {
    let town = Town::start(case);
    let children = [(); 50].map(|()| start(town.child(case, "services.ask").arg("20")));
    let echo = start(town.child(case, "services.echo").cpus(other_cpu()));
    children.iter().for_each(succeeds);
    kill(&echo);
    town.stop();
}

pub fn supervised(case: &Case) {
    let town = Town::start(case);
    let spawn = Spawn::new(program(case, "supervisor"), "supervisor")
        .arg(ECHO)
        .arg("child")
        .arg("services.supervised")
        .handle(town.session().into_handle(), Mode::Move, Rights::all())
        .handle(case.image, Mode::Share, Rights::all());
    let supervisor = start(spawn);
    let mut client = done!(town.names.connect(ECHO, soon()), "connecting");
    for end in 0..=u64::from(RESTARTS) {
        same!(ask(&client, end), Ok(end + 1), "an answer in life {end}");
        let how = if end % 2 == 0 { FAULT } else { EXIT };
        same!(ask(&client, how), Err(Error::PeerClosed), "its end");
        if end < u64::from(RESTARTS) {
            // The name is there between the lives too.
            client = done!(town.names.look_up(ECHO, soon()), "connecting again");
        }
    }
    exits(&supervisor, 1);
    eventually("the name to go", || {
        town.names.look_up(ECHO, soon()).err() == Some(Error::NotFound)
    });
    town.stop();
}

pub fn lock(_: &Case) {
    static LOCK: Mutex<u64> = Mutex::new(0);
    let bell = Arc::new(done!(Notification::create(), "a notification"));
    let held = bell.clone();
    let holder = ThreadSpawn::new().cpus(1).priority(3).start(move || {
        let mut value = LOCK.lock();
        done!(held.signal(1), "signalling");
        let limit = rt::in_ms(5);
        while rt::now_ns() < limit {
            core::hint::spin_loop();
        }
        *value += 1;
    });
    let holder = done!(holder, "a thread");
    done!(bell.wait(soon()), "waiting for the holder");
    let urgent = [(); 3].map(|()| {
        let thread = ThreadSpawn::new().cpus(1).priority(9);
        done!(thread.start(|| *LOCK.lock() += 1), "a thread")
    });
    for thread in urgent.into_iter().chain([holder]) {
        done!(thread.wait(soon()), "waiting for a thread");
    }
    same!(*LOCK.lock(), 4, "what was counted");
}

/// Its store ends at its first entries in every life, so there is soon no next one.
pub fn given_up(case: &Case) {
    let town = Town::start(case);
    let fuses = "1,1,1,1,1,1";
    same!(fuses.split(',').count(), RESTARTS as usize + 1, "lives");
    let services = Spawn::new(program(case, "services"), "services")
        .arg("--fuse")
        .arg(fuses)
        .handle(case.initrd, Mode::Share, Rights::all())
        .handle(town.session().into_handle(), Mode::Move, Rights::all());
    exits(&start(services), 1);
    kill(&town.process);
}

/// Asks the echo once.
fn ask(client: &ChannelEnd, number: u64) -> Result<u64, Error> {
    let words = client.call_words([number, 0, 0, 0], soon());
    words.map(|words| words[0])
}

fn kill(process: &Process) {
    done!(process.kill(), "killing");
    let _ = wait(process);
}

/// Serves until there is nobody left.
fn echo(listener: Listener) -> u8 {
    let mut kept = alloc::vec::Vec::new();
    let mut service = done!(Service::new(listener, 256), "a port");
    let error = service.serve(|_, mut received| {
        let (Some(words), Some(mut reply)) = (received.words(), received.take_reply()) else {
            return;
        };
        match words[0] {
            // SAFETY: nothing is there to be read: the thread is stopped by its fault.
            FAULT => unsafe {
                (16 as *const u64).read_volatile();
            },
            EXIT => rt::exit(3),
            LEAVE => rt::exit(0),
            HANG => kept.push(reply),
            _ => {
                let _ = reply.send_words(words.map(|word| word.wrapping_add(1)));
            }
        }
    });
    same!(error, Error::PeerClosed, "why it ended");
    0
}

/// The roles of these cases.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    let names = || Names::from_handle(env.handle(0));
    Some(match role {
        "services.echo" => {
            let names = names();
            echo(done!(names.register(ECHO, FOREVER), "registering"))
        }
        "services.supervised" => echo(Listener::new(ChannelEnd::from_handle(env.handle(0)))),
        "services.ask" => {
            let client = done!(names().connect(ECHO, FOREVER), "connecting");
            for number in 0..crate::number(env, 0) {
                same!(ask(&client, number), Ok(number + 1), "an answer");
            }
            0
        }
        "services.family" => scarce::family(env),
        _ => return hostile::child(role, env),
    })
}
