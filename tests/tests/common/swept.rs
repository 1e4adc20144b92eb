//! Every call that takes memory or quota, and what it finds. Domain 0 makes it.

use std::sync::Arc;
use std::thread::JoinHandle;

use abi::limits::PAGE_SIZE;
use abi::ring::Geometry;
use abi::{
    BindFlags, CachePolicy, DeriveArgs, Error, Events, FOREVER, Handle, HandleTransfer, MapFlags,
    Mode, RegionFlags, Resources, Rights, SnapshotFlags, SubmissionArgs, Token,
};
use fake::{Config, FakeTask};
use ipc::{Fit, Outgoing, Resource};

use crate::common::hubs::{self, Guest, Hub};
use crate::common::messages::{End, Ends};
use crate::common::realm::Realm;
use crate::common::{READ, WRITE, devices, ports, waiting};

const ALL: Rights = Rights::all();
const ROOMY: Fit = Fit::Message {
    bytes: 256,
    handles: 4,
};
pub const MANY: u64 = 1 << 40;
const PLENTY: Resources = Resources {
    frames: MANY,
    tables: MANY,
    bytes: MANY,
};

/// Places by which a table of handles grows.
const BLOCK: usize = 64;

/// Whether there is room in the table of who calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Handles {
    Room,
    /// It has to grow for the next one.
    Full,
}

/// What a call finds. Domain 0 makes it.
pub struct Before {
    pub realm: Arc<Realm>,
    /// Of domain 0, mapped nowhere, with a snapshot.
    region: Handle,
    /// From domain 1: a Move and a share.
    tokens: [Token; 2],
    /// An end of domain 0, whose peer has sent a region by Move.
    end: End,
    /// Where nothing has been sent.
    empty: End,
    producer: Handle,
    notification: Handle,
    submissions: Handle,
    port: Handle,
    resource: Handle,
    /// The right to reply to somebody who waits for it.
    reply: Handle,
    /// Domain 1 calls there, in words.
    called: End,
    /// A hub of domain 0 with three seats.
    hub: Hub,
    /// Who has reserved one of them, and who has claimed one; both domain 0.
    reserved: Guest,
    attached: Guest,
    /// Leads to a hub of domain 1, which pays for the rings.
    door: Handle,
    callers: Vec<JoinHandle<()>>,
}

impl Before {
    pub fn new(handles: Handles) -> Before {
        let config = Config {
            frames: 3000,
            device_frames: 16,
            ..Config::default()
        };
        let realm = Arc::new(Realm::below(fake::start_ipc(config), &[PLENTY; 2]));
        let region = realm.region(0, 3);
        let flags = SnapshotFlags::empty();
        let me = &realm.domains[0];
        realm
            .ipc
            .commit_region(me, region, 0, 3 * PAGE_SIZE)
            .unwrap();
        realm.ipc.snapshot_region(me, region, 0, 0, flags).unwrap();
        let token = |mode| {
            let offered = realm.region(1, 2);
            realm.grant(1, offered, 0, mode, ALL).unwrap()
        };
        let tokens = [token(Mode::Move), token(Mode::Share)];
        let ends = Ends::between(&realm, 0, 1, 4);
        let carried = HandleTransfer::new(realm.region(1, 1), Mode::Move, ALL);
        ends.there.send(&realm, b"for you", &[carried]).unwrap();
        let empty = Ends::between(&realm, 0, 1, 4).here;
        let (producer, _) = realm.ipc.create_ring(me, Geometry::slot(64, 64)).unwrap();
        let device = Resource::new(devices::device(realm.machine()), 16 * PAGE_SIZE).unwrap();
        let hub = Hub::new(&realm, 3);
        let mut before = Before {
            hub,
            reserved: hub.reserve(&realm, 0).unwrap(),
            attached: hub.join(&realm, 0).0,
            door: {
                let geometry = hubs::geometry(2);
                let made = realm.ipc.create_hub(&realm.domains[1], geometry).unwrap();
                realm.give(1, made.hub, 0, Mode::Share)
            },
            region,
            tokens,
            end: ends.here,
            empty,
            producer,
            notification: ports::notification(&realm, 0),
            submissions: {
                let args = SubmissionArgs::new(4, 4);
                realm.ipc.create_submission_ring(me, &args).unwrap()
            },
            port: ports::port(&realm, 0),
            resource: realm.ipc.create_resource(me, device).unwrap(),
            reply: Handle::NONE,
            called: empty,
            callers: Vec::new(),
            realm,
        };
        before.reply = {
            let here = before.is_called();
            here.receive(&before.realm).unwrap().reply
        };
        before.called = before.is_called();
        if handles == Handles::Full {
            let filler = before.realm.region(0, 1);
            while !before.me().handle_count().is_multiple_of(BLOCK) {
                before.realm.derive(0, filler, READ).unwrap();
            }
        }
        before
    }

    /// Has domain 1 call domain 0, at this end.
    fn is_called(&mut self) -> End {
        let ends = Ends::between(&self.realm, 0, 1, 2);
        let there = ends.there;
        let (caller, task) = waiting::waiting(&self.realm, move |realm| {
            let domain = &realm.domains[there.domain];
            let words = Outgoing {
                bytes: &[1; 32],
                transfers: &[],
            };
            let (end, ipc) = (there.handle, &realm.ipc);
            let _ = ipc.call(domain, end, words, ROOMY, FOREVER, |_| Ok(()));
            realm.ipc.end_task(&FakeTask::current());
        });
        task.until_asleep();
        self.callers.push(caller);
        ends.here
    }

    pub fn me(&self) -> &ipc::Domain<fake::FakeMachine> {
        &self.realm.domains[0]
    }

    fn transfer(&self) -> [HandleTransfer; 1] {
        [HandleTransfer::new(self.region, Mode::CopyOnWrite, ALL)]
    }

    pub fn finish(self) {
        // Then nobody is left to answer.
        self.realm.exit(0);
        for caller in self.callers {
            caller.join().expect("it ends");
        }
        let realm = Arc::into_inner(self.realm).expect("nobody else has it");
        realm.finish();
    }
}

pub type Call = (&'static str, fn(&Before) -> Result<(), Error>);

const FIXED: u64 = 0x7e00_0000_0000;

/// Each call under its name in the table.
pub const CALLS: &[Call] = &[
    ("region_create", |b| {
        let (len, flags) = (600 * PAGE_SIZE, RegionFlags::COMMIT);
        b.realm
            .ipc
            .create_region(b.me(), len, flags, None)
            .map(drop)
    }),
    ("region_snapshot", |b| {
        let flags = SnapshotFlags::empty();
        let ipc = &b.realm.ipc;
        ipc.snapshot_region(b.me(), b.region, 0, 0, flags).map(drop)
    }),
    ("region_pin", |b| b.realm.ipc.pin_region(b.me(), b.region)),
    ("map", |b| {
        let flags = MapFlags::FIXED;
        let ipc = &b.realm.ipc;
        ipc.map(b.me(), b.region, FIXED, 0, 0, WRITE, flags)
            .map(drop)
    }),
    ("cap_derive", |b| {
        b.realm.derive(0, b.region, READ).map(drop)
    }),
    ("cap_derive_with", |b| {
        let args = DeriveArgs {
            deadline: 1 << 40,
            max_nodes: 5,
            ..DeriveArgs::new(READ)
        };
        b.realm.derive_with(0, b.region, args).map(drop)
    }),
    ("grant", |b| {
        let mode = Mode::CopyOnWrite;
        let until = 1 << 40;
        b.realm
            .grant_until(0, b.region, 1, mode, ALL, until)
            .map(drop)
    }),
    ("accept", |b| b.realm.accept(0, b.tokens[0], 1).map(drop)),
    ("accept", |b| b.realm.accept(0, b.tokens[1], 1).map(drop)),
    ("ring_create", |b| {
        let geometry = Geometry::slot(64, 128);
        b.realm.ipc.create_ring(b.me(), geometry).map(drop)
    }),
    ("ring_map", |b| {
        b.realm.ipc.map_ring(b.me(), b.producer).map(drop)
    }),
    ("channel_create", |b| {
        b.realm.ipc.create_channel(b.me(), 16).map(drop)
    }),
    ("channel_send", |b| {
        b.empty.send(&b.realm, &[7; 256], &b.transfer())
    }),
    ("channel_receive", |b| b.end.receive(&b.realm).map(drop)),
    ("channel_call", |b| {
        let message = Outgoing {
            bytes: &[7; 256],
            transfers: &b.transfer(),
        };
        let (domain, end, until) = (&b.realm.domains[0], b.empty.handle, 1 << 40);
        // All that it takes is taken when it begins to wait; nobody answers.
        let called = b
            .realm
            .ipc
            .call(domain, end, message, ROOMY, until, |_| Ok(()));
        waited(called.map(drop))
    }),
    ("channel_reply", |b| {
        let message = Outgoing {
            bytes: &[7; 256],
            transfers: &b.transfer(),
        };
        b.realm.ipc.reply(&b.realm.domains[0], b.reply, message)
    }),
    ("channel_call_words", |b| {
        let domain = &b.realm.domains[0];
        let called = b
            .realm
            .ipc
            .call_words(domain, b.empty.handle, [1; 4], 1 << 40);
        waited(called.map(drop))
    }),
    // What its answer takes is what a reply does.
    ("channel_serve", |b| {
        let (domain, end) = (&b.realm.domains[0], b.end.handle);
        let (ipc, nobody, nothing) = (&b.realm.ipc, Handle::NONE, Outgoing::EMPTY);
        ipc.serve(domain, end, nobody, &nothing, 0, |_| Ok(()))
            .map(drop)
    }),
    ("channel_serve_words", |b| {
        let (end, nobody) = (b.called.handle, Handle::NONE);
        b.realm
            .ipc
            .serve_words(b.me(), end, nobody, [0; 4])
            .map(drop)
    }),
    ("notify_create", |b| {
        b.realm.ipc.create_notification(b.me()).map(drop)
    }),
    ("port_create", |b| b.realm.ipc.create_port(b.me()).map(drop)),
    ("port_bind", |b| {
        let (events, flags) = (Events::SIGNALED, BindFlags::empty());
        let ipc = &b.realm.ipc;
        ipc.bind_port(b.me(), b.port, b.notification, events, flags, 1)
    }),
    ("resource_part", |b| {
        let address = devices::device(b.realm.machine());
        let ipc = &b.realm.ipc;
        ipc.part_of_resource(b.me(), b.resource, address, PAGE_SIZE)
            .map(drop)
    }),
    ("region_device", |b| {
        let address = devices::device(b.realm.machine());
        let (len, policy) = (16 * PAGE_SIZE, CachePolicy::Uncached);
        let ipc = &b.realm.ipc;
        ipc.create_device_region(b.me(), b.resource, address, len, policy)
            .map(drop)
    }),
    ("interrupt_create", |b| {
        let ipc = &b.realm.ipc;
        ipc.create_interrupt(b.me(), b.resource, b.notification, 1)
            .map(drop)
    }),
    ("hub_create", |b| {
        let geometry = hubs::geometry(2);
        b.realm.ipc.create_hub(b.me(), geometry).map(drop)
    }),
    ("hub_reserve", |b| b.hub.reserve(&b.realm, 0).map(drop)),
    ("hub_reserve", |b| {
        b.realm.ipc.reserve_seat(b.me(), b.door).map(drop)
    }),
    ("hub_claim", |b| b.reserved.claim(&b.realm).map(drop)),
    ("hub_connect", |b| {
        b.hub.connect(&b.realm, b.attached.seat).map(drop)
    }),
    ("sub_create", |b| {
        let args = SubmissionArgs::new(64, 256);
        b.realm.ipc.create_submission_ring(b.me(), &args).map(drop)
    }),
    ("sub_map", |b| {
        let ipc = &b.realm.ipc;
        ipc.map_submission_ring(b.me(), b.submissions).map(drop)
    }),
    ("sub_register", |b| {
        let ipc = &b.realm.ipc;
        ipc.register(b.me(), b.notification, None).map(drop)
    }),
    ("sub_slots", |b| b.realm.ipc.set_slots(b.me(), 1000, 100)),
    ("timer_create", |b| {
        b.realm
            .ipc
            .create_timer(b.me(), b.notification, 1)
            .map(drop)
    }),
];

/// What waits has done all that it can fail in.
fn waited(called: Result<(), Error>) -> Result<(), Error> {
    match called {
        Err(Error::TimedOut) => Ok(()),
        other => other,
    }
}
