//! What can be done by a capability that is taken away meanwhile.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use abi::hub::PeerState;
use abi::submission::SubmissionArgs;
use abi::{
    BindFlags, Error, FOREVER, GrantFlags, Handle, HandleTransfer, HubGuestEnds, Mode, ObjectKind,
    Rights, RingEnds, Token,
};
use fake::{FakeMachine, FakeTask};
use ipc::{ImageInfo, Ipc, Outgoing, Payload, Resource};
use mm::RegionOptions;

use super::WRITE;
use super::calls::ROOMY;
use super::devices::{CONFIG, PAGE, device};
use super::hubs::{Guest, Hub};
use super::messages::{End, Ends};
use super::ports::{bind, notification, port};
use super::realm::{Domain, Realm};
use super::ring_pair::GEOMETRY;
use super::waiting::waiting;

pub const ALL: Rights = Rights::all();

/// Domain 1 has something below all that domain 0 has, and seats at its hub.
pub struct Scene {
    pub realm: Arc<Realm>,
    pub hub: Hub,
    /// Has claimed its seat.
    pub attached: Guest,
    pub attached_ends: HubGuestEnds,
    /// What the host has of its rings, once it has connected.
    connected: OnceLock<RingEnds>,
    /// Has not.
    pub reserved: Guest,
    /// Has left, and the host is connected.
    pub gone: Guest,
    /// Of domain 0: the hub, a resource, a port, a channel end, a region, a notification, a timer of that, itself, a
    /// thread, a channel end where somebody has called and an image.
    pub tops: [Handle; 11],
    /// What domain 1 has below each.
    pub below: [Handle; 11],
    /// What it has below that of the region.
    pub child: Handle,
    /// What domain 0 has below the hub.
    pub own: Handle,
    /// Where domain 0 has the region.
    pub va: u64,
    pub ends: Ends,
    /// An end of a ring of domain 1, whose other end domain 0 has.
    pub ring: Handle,
    pub other_end: Handle,
    /// Something was done with a process or a thread.
    pub touched: AtomicBool,
    /// A region that domain 1 made.
    pub spare: Handle,
    /// A region that domain 1 made and has pinned.
    pub pinned: Handle,
    /// A submission ring of domain 1, which is not mapped.
    pub submissions: Handle,
    /// The right of domain 1 to answer who has called.
    pub reply: Handle,
    caller: JoinHandle<()>,
    /// Of what domain 0 grants it.
    pub token: Token,
    /// What domain 1 offers to domain 2 by Move.
    pub offered: Handle,
    pub offer: Token,
    /// Handles of domains 0 and 1.
    handles: [usize; 2],
}

/// Which of the tops.
pub const HUB: usize = 0;
pub const RESOURCE: usize = 1;
pub const PORT: usize = 2;
pub const END: usize = 3;
pub const REGION: usize = 4;
pub const BITS: usize = 5;
pub const TIMER: usize = 6;
pub const PROCESS: usize = 7;
pub const THREAD: usize = 8;
pub const CALLED: usize = 9;
pub const IMAGE: usize = 10;

/// The key of a binding that there is, and of one to come.
pub const BOUND: u64 = 1;
pub const NEW: u64 = 2;

impl Scene {
    pub fn new() -> Arc<Scene> {
        let realm = Arc::new(Realm::of(3, CONFIG));
        let hub = Hub::new(&realm, 4);
        let (attached, attached_ends) = hub.join(&realm, 1);
        let reserved = hub.reserve(&realm, 1).unwrap();
        let (gone, _) = hub.join(&realm, 1);
        hub.connect(&realm, gone.seat).unwrap();
        gone.leave(&realm).unwrap();
        let registers = Resource::new(device(realm.machine()), 4 * PAGE).unwrap();
        let resource = realm.ipc.create_resource(&realm.domains[0], registers);
        let ends = Ends::of(&realm, 0, 4);
        let bits = notification(&realm, 0);
        let timer = realm.ipc.create_timer(&realm.domains[0], bits, 1);
        let task = Payload::Thread(FakeTask::current());
        let thread = realm
            .ipc
            .install_object(&realm.domains[0], task, Rights::THREAD);
        let called = Ends::of(&realm, 0, 4);
        let (caller, task) = waiting(&realm, move |realm| {
            let (domain, end) = (&realm.domains[0], called.there.handle);
            let _ = realm
                .ipc
                .call(domain, end, WORDS, ROOMY, FOREVER, |_| Ok(()));
            realm.ipc.end_task(&FakeTask::current());
        });
        task.until_asleep();
        let tops = [
            hub.handle,
            resource.unwrap(),
            port(&realm, 0),
            ends.here.handle,
            realm.region(0, 3),
            bits,
            timer.unwrap(),
            realm.via[0][0],
            thread.unwrap(),
            called.here.handle,
            image(&realm),
        ];
        let below = tops.map(|top| realm.give(0, top, 1, Mode::Share));
        let child = realm.derive(1, below[REGION], ALL).unwrap();
        let reply = End::new(1, below[CALLED]).receive(&realm).unwrap().reply;
        called.there.send(&realm, WORDS.bytes, &[]).unwrap();
        let own = realm.derive(0, hub.handle, ALL).unwrap();
        let va = realm.map(0, tops[REGION], WRITE);
        realm.store(0, 0, va, 7).unwrap();
        bind(&realm, 0, tops[PORT], tops[BITS], BindFlags::empty(), BOUND).unwrap();
        ends.there.send(&realm, b"there", &[]).unwrap();
        let (other_end, ring) = realm.ipc.create_ring(&realm.domains[0], GEOMETRY).unwrap();
        let ring = realm.give(0, ring, 1, Mode::Move);
        let spare = realm.region(1, 1);
        let args = SubmissionArgs::new(4, 8);
        let submissions = realm.ipc.create_submission_ring(&realm.domains[1], &args);
        let submissions = submissions.unwrap();
        realm.ipc.set_slots(&realm.domains[1], 4, 1).unwrap();
        let pinned = realm.region(1, 1);
        realm.ipc.pin_region(&realm.domains[1], pinned).unwrap();
        let offered = realm.region(1, 1);
        let offer = realm.grant(1, offered, 2, Mode::Move, ALL).unwrap();
        let token = realm.grant(0, tops[BITS], 1, Mode::Share, ALL).unwrap();
        let handles = [0, 1].map(|domain: usize| realm.domains[domain].handle_count());
        Arc::new(Scene {
            realm,
            hub,
            attached,
            attached_ends,
            connected: OnceLock::new(),
            reserved,
            gone,
            tops,
            below,
            child,
            own,
            va,
            ends,
            ring,
            other_end,
            touched: AtomicBool::new(false),
            spare,
            pinned,
            submissions,
            reply,
            caller,
            token,
            offered,
            offer,
            handles,
        })
    }

    pub fn ipc(&self) -> &Ipc<FakeMachine> {
        &self.realm.ipc
    }

    /// Who does something, mostly.
    pub fn me(&self) -> &Arc<Domain> {
        &self.realm.domains[1]
    }

    /// Whether a domain has got something.
    pub fn has_more(&self, domain: usize) -> bool {
        self.realm.domains[domain].handle_count() > self.handles[domain]
    }

    /// Whether domain 1 has a mapping.
    pub fn is_mapped(&self) -> bool {
        self.me().space().mapping_count() > 0
    }

    /// How often something came to one of the tops.
    pub fn messages(&self, top: Handle) -> u64 {
        let info = self.ipc().object_info(&self.realm.domains[0], top);
        info.unwrap().messages
    }

    pub fn stands(&self, guest: Guest) -> PeerState {
        self.hub.standing(&self.realm, guest.seat.peer).0
    }

    /// The host's end of the ring from the guest that has claimed its seat.
    pub fn guests_ring(&self) -> Handle {
        let connect = || self.hub.connect(&self.realm, self.attached.seat).unwrap().1;
        self.connected.get_or_init(connect).consumer
    }

    /// Domain 1 offers something over its channel end.
    pub fn grant(&self, what: Handle, mode: Mode) -> Result<(), Error> {
        let (via, flags) = (self.below[END], GrantFlags::empty());
        let ipc = self.ipc();
        ipc.grant(self.me(), what, via, mode, ALL, flags, FOREVER)
            .map(drop)
    }

    /// Domain 1 sends something.
    pub fn send(&self, what: Handle, mode: Mode) -> Result<(), Error> {
        let transfers = [HandleTransfer::new(what, mode, ALL)];
        End::new(1, self.below[END]).send(&self.realm, b"it", &transfers)
    }

    /// Domain 1 takes the next message of an end after an answer, if there is a right to give one.
    pub fn serve(&self, end: usize, reply: Handle) -> Result<(), Error> {
        let (ipc, end) = (self.ipc(), self.below[end]);
        ipc.serve(self.me(), end, reply, &WORDS, 0, |_| Ok(()))
            .map(drop)
    }

    /// The same with words.
    pub fn serve_words(&self, reply: Handle) -> Result<(), Error> {
        let (ipc, end) = (self.ipc(), self.below[CALLED]);
        ipc.serve_words(self.me(), end, reply, [0; 4]).map(drop)
    }

    /// Whether something more was made of the region, for whomever.
    pub fn is_shared(&self) -> bool {
        self.realm.info(0, self.tops[REGION]).descendants > 2
    }

    /// Whether there is a snapshot of the region.
    pub fn is_copied(&self) -> bool {
        let domain = &self.realm.domains[0];
        let facts = self.ipc().region_info(domain, self.tops[REGION]);
        facts.unwrap().shared_leaves == 1
    }

    /// Whether the call has been answered.
    pub fn is_answered(&self) -> bool {
        self.realm.look_up(1, self.reply) == Err(Error::BadHandle)
    }

    /// Messages that wait at an end of domain 0.
    pub fn queued(&self, end: Handle) -> u32 {
        End::new(0, end).info(&self.realm).queued
    }

    /// Whether a region waits for its addressee.
    pub fn is_offered(&self, mode: Mode) -> bool {
        // Behind the two that are there.
        let token = |generation| Token::new(2, generation, ObjectKind::Region, mode);
        (1..64).any(|generation| self.realm.ipc.offered_region(token(generation)).is_some())
    }

    pub fn finish(self: Arc<Scene>) {
        let Scene { realm, caller, .. } = Arc::into_inner(self).expect("nobody else has it");
        // Then nobody is left to answer.
        realm.exit(1);
        realm.exit(2);
        caller.join().unwrap();
        let realm = Arc::into_inner(realm).expect("nobody else has it");
        realm.finish();
    }
}

/// What domain 0 could start.
fn image(realm: &Realm) -> Handle {
    let (domain, options) = (&realm.domains[0], RegionOptions::default());
    let region = realm
        .memory()
        .create_region(domain.account(), PAGE, options)
        .unwrap();
    let info = ImageInfo { base: 0, entry: 0 };
    let payload = Payload::Image(region, info);
    realm
        .ipc
        .install_object(domain, payload, Rights::IMAGE)
        .unwrap()
}

/// Four words.
const WORDS: Outgoing<'static> = Outgoing {
    bytes: &[1; 32],
    transfers: &[],
};
