//! What each kind of object counts: each thing is done once, and every count is read, at the objects and
//! for the system.

use std::sync::{Arc, mpsc};
use std::thread::scope;

use crate::common::calls::{ROOMY, call, call_words, reply, serve};
use crate::common::hubs::Hub;
use crate::common::messages::{End, Ends, asleep};
use crate::common::ports::{EDGE, bind, notification, port, signal, take};
use crate::common::realm::Realm;
use crate::common::registered::{register, unregister, wait_by};
use crate::common::submissions::{Submissions, cancel, nop, operate, polled, wait as wait_entry};
use crate::common::{WRITE, page};
use abi::ring::Geometry;
use abi::{Error, Events, FOREVER, Handle, HubSignal, Mode, ObjectInfo, Rights};
use fake::FakeTask;
use ipc::{Outgoing, Payload, Preview, Resource};

/// What an object has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    messages: u64,
    bytes: u64,
    waits: u64,
    wakes: u64,
    faults: u64,
    transfers: [u64; 3],
    refusals: u64,
}

/// Messages, their bytes, waits and wakes, and nothing else.
fn counts([messages, bytes, waits, wakes]: [u64; 4]) -> Counts {
    Counts {
        messages,
        bytes,
        waits,
        wakes,
        ..Counts::default()
    }
}

impl From<ObjectInfo> for Counts {
    fn from(info: ObjectInfo) -> Counts {
        Counts {
            messages: info.messages,
            bytes: info.bytes,
            waits: info.waits,
            wakes: info.wakes,
            faults: info.faults,
            transfers: info.transfers,
            refusals: info.refusals.iter().sum(),
        }
    }
}

/// All objects that have counted something, as domain 0 has them, and what.
type Expected = Vec<(Handle, Counts)>;

/// Something that happens once.
type Scene = fn(&Realm) -> Expected;

const SCENES: &[(&str, Scene)] = &[
    ("a signal to a sleeper", |realm| {
        let bell = notification(realm, 0);
        meanwhile(
            realm,
            |realm| wait_bits(realm, bell),
            || signal(realm, 0, bell),
        );
        vec![(bell, counts([1, 0, 1, 1]))]
    }),
    ("a signal to nobody", |realm| {
        let bell = notification(realm, 0);
        signal(realm, 0, bell);
        assert_eq!(wait_bits(realm, bell), Ok(1));
        vec![(bell, counts([1, 0, 0, 0]))]
    }),
    ("a wait that times out", |realm| {
        let bell = notification(realm, 0);
        let waited = realm.ipc.wait_notification(&realm.domains[0], bell, 1);
        assert_eq!(waited, Err(Error::TimedOut));
        vec![(bell, counts([0, 0, 1, 0]))]
    }),
    ("a wait for the event of a signal", |realm| {
        let bell = notification(realm, 0);
        let wait = |realm: &Realm| wait_event(realm, bell, Events::SIGNALED);
        meanwhile(realm, wait, || signal(realm, 0, bell));
        vec![(bell, counts([1, 0, 1, 1]))]
    }),
    ("a packet of a port", |realm| {
        let (port, bell) = (port(realm, 0), notification(realm, 0));
        bind(realm, 0, port, bell, EDGE, 7).unwrap();
        let wait = |realm: &Realm| take(realm, 0, port, 1, FOREVER);
        meanwhile(realm, wait, || signal(realm, 0, bell));
        vec![(port, counts([1, 0, 1, 1])), (bell, counts([1, 0, 0, 0]))]
    }),
    ("a timer that goes off", |realm| {
        let bell = notification(realm, 0);
        let domain = &realm.domains[0];
        let timer = realm.ipc.create_timer(domain, bell, 1).unwrap();
        realm.ipc.set_timer(domain, timer, 0, 0).unwrap();
        vec![(timer, counts([1, 0, 0, 0])), (bell, counts([1, 0, 0, 0]))]
    }),
    ("an interrupt", |realm| {
        let bell = notification(realm, 0);
        let domain = &realm.domains[0];
        let registers = Resource::new(0x1_0000_0000, 4096).unwrap();
        let resource = realm.ipc.create_resource(domain, registers).unwrap();
        let created = realm.ipc.create_interrupt(domain, resource, bell, 1);
        let (handle, message) = created.unwrap();
        let interrupt = realm.machine().written_to(message.data).unwrap();
        realm.ipc.interrupted(&interrupt);
        vec![(handle, counts([1, 0, 0, 0])), (bell, counts([1, 0, 0, 0]))]
    }),
    ("a wake at a ring", |realm| {
        let (producer, consumer) = ring(realm);
        let wake = || realm.ipc.wake_ring(&realm.domains[0], producer).unwrap();
        meanwhile(realm, |realm| wait_ring(realm, consumer), wake);
        vec![(producer, counts([0; 4])), (consumer, counts([1, 0, 1, 1]))]
    }),
    ("the end of a ring's other end", |realm| {
        let (producer, consumer) = ring(realm);
        let close = || realm.drop_handle(0, producer).unwrap();
        meanwhile(realm, |realm| wait_ring(realm, consumer), close);
        vec![(consumer, counts([0, 0, 1, 1]))]
    }),
    ("the end of a process", |realm| {
        let process = realm.via[0][1];
        let wait = |realm: &Realm| wait_event(realm, process, Events::ENDED);
        let end = || realm.processes[1].set_ended(&realm.ipc);
        meanwhile(realm, wait, end);
        vec![(process, counts([0, 0, 1, 1]))]
    }),
    ("the end of a thread", |realm| {
        let task = FakeTask::default();
        let thread = Payload::Thread(task.clone());
        let thread = realm
            .ipc
            .install_object(&realm.domains[0], thread, Rights::THREAD);
        let thread = thread.unwrap();
        let wait = |realm: &Realm| wait_event(realm, thread, Events::ENDED);
        meanwhile(realm, wait, || task.set_ended(&realm.ipc));
        vec![(thread, counts([0, 0, 1, 1]))]
    }),
    ("a region", |realm| {
        let region = realm.region(0, 1);
        let mapped = realm.map(0, region, WRITE);
        realm.store(0, 0, page(mapped, 0), 1).unwrap();
        realm.give(0, region, 1, Mode::Share);
        realm
            .ipc
            .count_refusal(&realm.domains[0], region, Error::Denied);
        let counted = Counts {
            faults: 1,
            transfers: [0, 1, 0],
            refusals: 1,
            ..Counts::default()
        };
        vec![(region, counted)]
    }),
    ("a message to a sleeper", |realm| {
        let Ends { here, there } = Ends::of(realm, 0, 1);
        let receive = |realm: &Realm| there.receive_until(realm, FOREVER);
        meanwhile(realm, receive, || here.send(realm, b"abc", &[]).unwrap());
        both(here, [0; 4], there, [1, 3, 1, 1])
    }),
    ("a sender that waits for room", |realm| {
        let Ends { here, there } = Ends::of(realm, 0, 1);
        here.send(realm, b"a", &[]).unwrap();
        let send = |realm: &Realm| here.send_until(realm, b"bc", &[], FOREVER);
        meanwhile(realm, send, || drop(there.receive(realm).unwrap()));
        both(here, [0, 0, 1, 1], there, [2, 3, 0, 0])
    }),
    ("a wait for the event of a message", |realm| {
        let Ends { here, there } = Ends::of(realm, 0, 1);
        let wait = |realm: &Realm| wait_event(realm, there.handle, Events::READABLE);
        meanwhile(realm, wait, || here.send(realm, b"abc", &[]).unwrap());
        both(here, [0; 4], there, [1, 3, 1, 1])
    }),
    ("a call that is answered with some bytes", |realm| {
        let Ends { here, there } = called(realm, |realm, right| {
            reply(realm, 0, right, b"0123456789").unwrap();
        });
        both(here, [1, 10, 1, 1], there, [1, 3, 0, 0])
    }),
    ("a call that is answered with many bytes", |realm| {
        let Ends { here, there } = called(realm, |realm, right| {
            reply(realm, 0, right, &[7; 200]).unwrap();
        });
        both(here, [1, 200, 1, 1], there, [1, 3, 0, 0])
    }),
    ("a call that meets who serves, and the answer", |realm| {
        let Ends { here, there } = Ends::of(realm, 0, 1);
        let (name, named) = mpsc::channel();
        let work = move |realm: &Realm| {
            name.send(FakeTask::current()).unwrap();
            let asked = there.receive_until(realm, FOREVER).unwrap();
            let answer = Outgoing {
                bytes: b"0123456789",
                transfers: &[],
            };
            let (domain, show) = (&realm.domains[0], |_: &Preview<'_>| Ok(()));
            let ipc = &realm.ipc;
            ipc.serve(domain, there.handle, asked.reply, &answer, FOREVER, show)
        };
        meanwhile(realm, work, || {
            let answered = call(realm, &here, b"abc", &[], ROOMY);
            assert_eq!(answered, Ok((b"0123456789".to_vec(), vec![])));
            // It waits for the next call, which nobody makes.
            realm.ipc.cancel_wait(&named.recv().unwrap()).unwrap();
        });
        both(here, [1, 10, 1, 1], there, [1, 3, 2, 1])
    }),
    ("a call whose answer will not come", |realm| {
        let Ends { here, there } = called(realm, |realm, right| {
            realm.drop_handle(0, right).unwrap();
        });
        both(here, [0, 0, 1, 1], there, [1, 3, 0, 0])
    }),
    ("a call by what is revoked", |realm| {
        let Ends { here, there } = Ends::of(realm, 0, 1);
        let below = End::new(0, realm.derive(0, here.handle, Rights::all()).unwrap());
        let revoke = || assert_eq!(realm.revoke(0, here.handle), Ok(1));
        let ask = |realm: &Realm| call(realm, &below, b"abc", &[], ROOMY);
        meanwhile(realm, ask, revoke);
        both(here, [0, 0, 1, 1], there, [1, 3, 0, 0])
    }),
    ("words that lie in the queue", |realm| {
        let Ends { here, there } = Ends::of(realm, 0, 1);
        let answer = || {
            let asked = serve(realm, &there, Handle::NONE, [0; 4]).unwrap();
            let answered = realm
                .ipc
                .reply_words(&realm.domains[0], asked.reply, [2; 4]);
            assert_eq!(answered, Ok(()));
        };
        let ask = |realm: &Realm| call_words(realm, &here, [1; 4]);
        meanwhile(realm, ask, answer);
        both(here, [1, 32, 1, 1], there, [1, 32, 0, 0])
    }),
    ("words whose answer is none", |realm| {
        let Ends { here, there } = Ends::of(realm, 0, 1);
        let answer = || {
            let asked = serve(realm, &there, Handle::NONE, [0; 4]).unwrap();
            assert_eq!(reply(realm, 0, asked.reply, b"no"), Err(Error::TooLarge));
        };
        let ask = |realm: &Realm| call_words(realm, &here, [1; 4]);
        meanwhile(realm, ask, answer);
        both(here, [0, 0, 1, 1], there, [1, 32, 0, 0])
    }),
    ("words that are handed over, and the answer", |realm| {
        let Ends { here, there } = Ends::of(realm, 0, 1);
        let (name, named) = mpsc::channel();
        let work = move |realm: &Realm| {
            name.send(FakeTask::current()).unwrap();
            let asked = serve(realm, &there, Handle::NONE, [0; 4]).unwrap();
            serve(realm, &there, asked.reply, [2; 4])
        };
        meanwhile(realm, work, || {
            assert_eq!(call_words(realm, &here, [1; 4]), Ok([2; 4]));
            // It waits for the next call, which nobody makes.
            realm.ipc.cancel_wait(&named.recv().unwrap()).unwrap();
        });
        both(here, [1, 32, 1, 1], there, [1, 32, 2, 1])
    }),
    ("words that are handed over and answered apart", |realm| {
        let Ends { here, there } = Ends::of(realm, 0, 1);
        let work = |realm: &Realm| {
            let asked = serve(realm, &there, Handle::NONE, [0; 4]).unwrap();
            let domain = &realm.domains[0];
            realm.ipc.reply_words(domain, asked.reply, [2; 4])
        };
        meanwhile(realm, work, || {
            assert_eq!(call_words(realm, &here, [1; 4]), Ok([2; 4]));
        });
        both(here, [1, 32, 1, 1], there, [1, 32, 1, 1])
    }),
    ("who serves and is told that nobody calls", |realm| {
        let Ends { here, there } = Ends::of(realm, 0, 1);
        let work = |realm: &Realm| serve(realm, &there, Handle::NONE, [0; 4]);
        meanwhile(realm, work, || here.drop(realm));
        vec![(there.handle, counts([0, 0, 1, 1]))]
    }),
    ("a guest that comes to a hub and signals", |realm| {
        let hub = Hub::new(realm, 1);
        let guest = hub.reserve(realm, 0).unwrap();
        let wait = |realm: &Realm| hub.wait(realm, FOREVER).map(drop);
        meanwhile(realm, wait, || _ = guest.claim(realm).unwrap());
        let signal = || guest.signal(realm, HubSignal::Work).unwrap();
        meanwhile(realm, wait, signal);
        vec![(hub.handle, counts([2, 0, 2, 2]))]
    }),
    (
        "entries of a submission ring, one of which waits",
        |realm| {
            let mut ring = Submissions::new(realm, 0, 8, 8);
            let bell = notification(realm, 0);
            let entries = [nop(1), nop(2), wait_entry(3, bell, FOREVER)];
            assert_eq!(ring.run(realm, &entries).len(), 2);
            let enter = |realm: &Realm| ring.enter(realm, 0, 1, FOREVER);
            meanwhile(realm, enter, || signal(realm, 0, bell));
            let ring = (ring.handle, counts([3, 0, 1, 1]));
            vec![ring, (bell, counts([1, 0, 0, 0]))]
        },
    ),
    ("entries that the thread of their ring finds", |realm| {
        let mut ring = polled(realm);
        let handle = ring.handle;
        scope(|scope| {
            let (tell, told) = mpsc::channel();
            let thread = scope.spawn(move || {
                tell.send(FakeTask::current()).unwrap();
                serve_ring(realm, handle);
            });
            let task = told.recv().unwrap();
            task.until_asleep();
            for number in 0..3 {
                ring.write(realm, nop(number));
            }
            ring.publish(realm);
            assert_eq!(ring.enter(realm, 0, 0, 0), Ok(0));
            task.until_sleeping();
            task.end();
            thread.join().unwrap();
        });
        vec![(handle, counts([3, 0, 2, 1]))]
    }),
    ("a wait for what uses a registered handle", |realm| {
        let mut ring = Submissions::new(realm, 0, 4, 4);
        let bell = notification(realm, 0);
        let id = register(realm, bell).unwrap();
        assert_eq!(ring.run(realm, &[wait_by(id, FOREVER)]), []);
        let wait = |realm: &Realm| unregister(realm, id, FOREVER).unwrap();
        meanwhile(realm, wait, || {
            assert_eq!(ring.run(realm, &[cancel(3, 2)]).len(), 2);
        });
        // The operation that was cancelled.
        let refused = Counts {
            refusals: 1,
            ..Counts::default()
        };
        let bell = (bell, refused);
        vec![(ring.handle, counts([2, 0, 0, 0])), bell]
    }),
];

/// Both ends of a channel.
fn both(here: End, at_here: [u64; 4], there: End, at_there: [u64; 4]) -> Expected {
    vec![
        (here.handle, counts(at_here)),
        (there.handle, counts(at_there)),
    ]
}

/// Does something while a thread sleeps at its work, and waits for the end of that.
fn meanwhile<R: Send>(realm: &Realm, work: impl FnOnce(&Realm) -> R + Send, act: impl FnOnce()) {
    scope(|scope| {
        let sleeper = asleep(scope, realm, || work(realm));
        act();
        sleeper.join().unwrap();
    });
}

/// A call of three bytes, which is received and answered.
fn called(realm: &Realm, answer: impl FnOnce(&Realm, Handle)) -> Ends {
    let Ends { here, there } = Ends::of(realm, 0, 1);
    let ask = |realm: &Realm| call(realm, &here, b"abc", &[], ROOMY);
    meanwhile(realm, ask, || {
        let got = there.receive(realm).unwrap();
        answer(realm, got.reply);
    });
    Ends { here, there }
}

/// Serves a submission ring until the task has to end.
fn serve_ring(realm: &Realm, ring: Handle) {
    let call = |operation, arguments| operate(realm, 0, operation, arguments);
    realm.ipc.poll_submissions(&realm.domains[0], ring, 0, call);
}

fn wait_bits(realm: &Realm, bell: Handle) -> Result<u64, Error> {
    let domain = &realm.domains[0];
    realm.ipc.wait_notification(domain, bell, FOREVER)
}

fn wait_event(realm: &Realm, handle: Handle, events: Events) -> Result<Events, Error> {
    let domain = &realm.domains[0];
    realm.ipc.wait_object(domain, handle, events, FOREVER)
}

fn ring(realm: &Realm) -> (Handle, Handle) {
    let geometry = Geometry::slot(64, 16);
    realm.ipc.create_ring(&realm.domains[0], geometry).unwrap()
}

fn wait_ring(realm: &Realm, consumer: Handle) -> Result<(), Error> {
    realm.ipc.wait_ring(&realm.domains[0], consumer, 1, FOREVER)
}

#[test]
fn each_thing_counts_once_at_its_object_and_once_for_the_system() {
    for (name, scene) in SCENES {
        let realm = Realm::new(2);
        let mut sum = Counts::default();
        for (handle, expected) in scene(&realm) {
            let info = realm.ipc.object_info(&realm.domains[0], handle);
            let counted = Counts::from(info.unwrap());
            assert_eq!(counted, expected, "{name}");
            sum.messages += counted.messages;
            sum.bytes += counted.bytes;
            sum.waits += counted.waits;
            for (sum, count) in sum.transfers.iter_mut().zip(counted.transfers) {
                *sum += count;
            }
        }
        let system = realm.machine().system_counts();
        let traffic = system.traffic;
        assert_eq!(
            (traffic.messages, traffic.bytes, traffic.waits),
            (sum.messages, sum.bytes, sum.waits),
            "{name}, for the system"
        );
        assert_eq!(system.transfers, sum.transfers, "{name}, for the system");
        realm.finish();
    }
}

/// Waits for an event that comes at a moment of that. The answer, what the object counted, and the system.
fn event_at(moment: usize) -> (Result<Events, Error>, [u64; 2]) {
    let realm = Arc::new(Realm::new(1));
    let bell = notification(&realm, 0);
    let inside = realm.clone();
    let ring = move || signal(&inside, 0, bell);
    let wait = || {
        let domain = &realm.domains[0];
        realm.ipc.wait_object(domain, bell, Events::SIGNALED, 100)
    };
    let (answer, _) = fake::at_moment(moment, None, ring, wait);
    let object = realm
        .ipc
        .object_info(&realm.domains[0], bell)
        .unwrap()
        .waits;
    let system = realm.machine().system_counts().traffic.waits;
    Arc::into_inner(realm).unwrap().finish();
    (answer, [object, system])
}

#[test]
fn a_wait_whose_event_comes_as_it_begins_counts_once_for_both() {
    let (mut begun, mut moment) = (0, 0);
    loop {
        let (answer, [object, system]) = event_at(moment);
        assert_eq!(object, system, "at moment {moment}: {answer:?}");
        if answer == Err(Error::TimedOut) {
            break;
        }
        begun += object;
        moment += 1;
    }
    assert!(begun > 0, "it never came as the wait began");
}
