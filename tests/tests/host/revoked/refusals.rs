//! What is answered by an error that tells of an object: until it is given, the capability that is gone comes first.

use abi::{CachePolicy, Error, Events, FOREVER, GrantFlags, Handle, HubSignal, Mode, Rights};
use fake::FakeMachine;
use ipc::Payload;

use super::deed::{Deed, Way};
use super::memory::{interrupt, make_of_part, make_process};
use super::questions::enter;
use super::waiting::signalled;
use crate::common::devices::{PAGE, device};
use crate::common::messages::End;
use crate::common::revoked::{
    ALL, BITS, END, HUB, IMAGE, PORT, PROCESS, REGION, RESOURCE, Scene, THREAD,
};

pub const REFUSALS: &[Deed] = &[
    Deed::question(&["process_fault.process"], Way::Revoked(PROCESS), |s| {
        let (process, ipc) = (s.below[PROCESS], s.ipc());
        ipc.ask_process(s.me(), process, Rights::INSPECT, |_| Err(Error::NotFound))
    })
    .answered_by(Error::NotFound),
    Deed::question(&["thread_info.thread"], Way::Revoked(THREAD), |s| {
        let (thread, ipc) = (s.below[THREAD], s.ipc());
        ipc.ask_task(s.me(), thread, Rights::WAIT, |_| Err(Error::Fault))
    })
    .answered_by(Error::Fault),
    Deed::question(&["object_wait.object"], Way::Revoked(END), |s| {
        let (ipc, end) = (s.ipc(), s.below[END]);
        ipc.wait_object(s.me(), end, Events::PEER_CLOSED, 0)
            .map(drop)
    })
    .answered_by(Error::WouldBlock),
    Deed::question(&["notify_wait.notification"], Way::Revoked(BITS), |s| {
        let taken = s.ipc().wait_notification(s.me(), s.below[BITS], 0);
        taken.map(drop)
    })
    .in_one_hold()
    .answered_by(Error::WouldBlock),
    Deed::question(&["port_wait.port"], Way::Revoked(PORT), wait_port)
        .answered_by(Error::WouldBlock),
    // There is a packet, of what holds no more.
    Deed::question(&["port_wait.port"], Way::Revoked(PORT), wait_port)
        .after(|s| {
            signalled(s);
            let (domain, bits) = (&s.realm.domains[0], s.tops[BITS]);
            s.ipc().wait_notification(domain, bits, 0).unwrap();
        })
        .answered_by(Error::WouldBlock),
    Deed::question(&["channel_send.end"], Way::Revoked(END), |s| {
        End::new(1, s.below[END]).send(&s.realm, b"it", &[])
    })
    .after(|s| while s.ends.here.send(&s.realm, b"", &[]).is_ok() {})
    .answered_by(Error::Full),
    Deed::question(&["channel_send.end"], Way::Revoked(END), |s| {
        End::new(1, s.below[END]).send(&s.realm, b"it", &[])
    })
    .after(hang_up)
    .answered_by(Error::PeerClosed),
    Deed::question(&["channel_send.end"], Way::Revoked(END), |s| {
        s.send(s.spare, Mode::Share)
    })
    .after(hang_up)
    .answered_by(Error::PeerClosed),
    Deed::question(&["channel_receive.end"], Way::Revoked(END), receive)
        .after(receive_first)
        .answered_by(Error::WouldBlock),
    Deed::question(&["channel_receive.end"], Way::Revoked(END), receive)
        .after(|s| {
            receive_first(s);
            hang_up(s);
        })
        .answered_by(Error::PeerClosed),
    Deed::question(&["grant.via"], Way::Revoked(END), |s| {
        s.grant(s.spare, Mode::Share)
    })
    .after(hang_up)
    .answered_by(Error::PeerClosed),
    Deed::question(&["process_spawn.args"], Way::Revoked(REGION), |s| {
        hand_over(s, s.below[REGION])
    })
    .after(pin_without_access)
    .answered_by(Error::Pinned),
    Deed::question(&["process_spawn.args"], Way::ReducedAbove(REGION), |s| {
        hand_over(s, s.below[REGION])
    })
    .after(pin_without_access)
    .answered_by(Error::Pinned),
    Deed::question(&["channel_send.message"], Way::ReducedAbove(REGION), |s| {
        s.send(s.below[REGION], Mode::Move)
    })
    .after(pin_without_access)
    .answered_by(Error::Pinned),
    Deed::question(&["grant.handle"], Way::ReducedAbove(REGION), |s| {
        s.grant(s.below[REGION], Mode::Move)
    })
    .after(pin_without_access)
    .answered_by(Error::Pinned),
    // What is revoked with it has to be refused likewise.
    Deed::question(&["grant.handle"], Way::ReducedAbove(REGION), |s| {
        let flags = GrantFlags::REVOKE_OTHERS;
        let (ipc, via) = (s.ipc(), s.below[END]);
        ipc.grant(
            s.me(),
            s.below[REGION],
            via,
            Mode::Move,
            ALL,
            flags,
            FOREVER,
        )
        .map(drop)
    })
    .after(pin_without_access)
    .answered_by(Error::Pinned),
    Deed::question(&["region_destroy.region"], Way::Revoked(REGION), |s| {
        s.ipc().destroy_region(s.me(), s.below[REGION])
    })
    .after(|s| {
        let domain = &s.realm.domains[0];
        s.ipc().pin_region(domain, s.tops[REGION]).unwrap();
    })
    .answered_by(Error::Pinned),
    Deed::question(&["region_unpin.region"], Way::Revoked(REGION), |s| {
        s.ipc().unpin_region(s.me(), s.below[REGION])
    })
    .answered_by(Error::NotFound),
    Deed::question(&["region_decommit.region"], Way::Revoked(REGION), |s| {
        s.ipc().decommit_region(s.me(), s.below[REGION], 0, PAGE)
    })
    .after(seal)
    .answered_by(Error::Sealed),
    Deed::question(&["region_copy.region"], Way::Revoked(REGION), |s| {
        let to = s.below[REGION];
        s.ipc().copy_region(s.me(), to, 0, s.spare, 0, 8).map(drop)
    })
    .after(seal)
    .answered_by(Error::Sealed),
    Deed::question(&["region_device.resource"], Way::Revoked(RESOURCE), |s| {
        map_device(s, 1, s.below[RESOURCE], CachePolicy::Uncached)
    })
    .after(|s| map_device(s, 0, s.tops[RESOURCE], CachePolicy::WriteCombining).unwrap())
    .answered_by(Error::Exists),
    Deed::question(&["image_create.region"], Way::Revoked(REGION), |s| {
        make_of_part(s, |_| Err(Error::Invalid))
    })
    .answered_by(Error::Invalid),
    Deed::question(&["process_spawn.args"], Way::Revoked(IMAGE), |s| {
        make_process(s, |_| Err(Error::NoMemory))
    })
    .answered_by(Error::NoMemory),
    Deed::question(&["resource_info.resource"], Way::Revoked(RESOURCE), |s| {
        let (ipc, resource) = (s.ipc(), s.below[RESOURCE]);
        let ask = |_| Err::<(), _>(Error::Fault);
        ipc.ask_resource(s.me(), resource, Rights::INSPECT, ask)
    })
    .answered_by(Error::Fault),
    Deed::question(&["trace_start.resource"], Way::Revoked(RESOURCE), |s| {
        let (ipc, resource) = (s.ipc(), s.below[RESOURCE]);
        let make = |_| Err::<(Payload<FakeMachine>, fn()), _>(Error::Exists);
        ipc.make_by_resource(s.me(), resource, ALL, make).map(drop)
    })
    .answered_by(Error::Exists),
    Deed::question(
        &["interrupt_create.resource"],
        Way::Revoked(RESOURCE),
        interrupt,
    )
    .after(|s| while interrupt(s).is_ok() {})
    .answered_by(Error::Limit),
    Deed::question(&["hub_reserve.hub"], Way::Revoked(HUB), reserve)
        .after(|s| while s.hub.reserve(&s.realm, 0).is_ok() {})
        .answered_by(Error::Full),
    Deed::question(&["hub_reserve.hub"], Way::Revoked(HUB), reserve)
        .after(|s| s.hub.goodbye(&s.realm))
        .answered_by(Error::PeerClosed),
    Deed::question(&["hub_connect.hub"], Way::Revoked(HUB), |s| connect(s, 0))
        .answered_by(Error::Exists),
    Deed::question(&["hub_connect.hub"], Way::Revoked(HUB), |s| connect(s, 1))
        .answered_by(Error::NotFound),
    Deed::question(
        &["hub_claim.member"],
        Way::Moved(|s| s.reserved.member),
        |s| s.reserved.claim(&s.realm).map(drop),
    )
    .after(|s| s.hub.goodbye(&s.realm))
    .answered_by(Error::PeerClosed),
    Deed::question(
        &["hub_signal.member"],
        Way::Moved(|s| s.attached.member),
        |s| s.attached.signal(&s.realm, HubSignal::Work),
    )
    .after(|s| s.realm.drop_handle(0, s.hub.handle).unwrap())
    .answered_by(Error::PeerClosed),
    Deed::question(
        &["sub_enter.submission"],
        Way::Reduced(|s| s.submissions),
        |s| enter(s, 1),
    )
    .answered_by(Error::WouldBlock),
    Deed::question(&["ring_wait.end"], Way::Reduced(|s| s.ring), |s| {
        s.ipc().wait_ring(s.me(), s.ring, 1, 0)
    })
    .after(|s| {
        let open = s.ipc().ring_info(s.me(), s.ring).unwrap();
        assert_eq!((open.tail, open.head), (0, 0));
    })
    .in_one_hold()
    .answered_by(Error::WouldBlock),
];

fn wait_port(scene: &Scene) -> Result<(), Error> {
    let (ipc, port) = (scene.ipc(), scene.below[PORT]);
    ipc.wait_port(scene.me(), port, 1, 0, |_, _| Ok(()))
        .map(drop)
}

/// Nobody has access to the region, so domain 1 may move what it has of it, but for a pin of its own.
fn pin_without_access(scene: &Scene) {
    let no_access = !Rights::ACCESS;
    scene
        .realm
        .reduce(0, scene.tops[REGION], no_access)
        .unwrap();
    let pinned = scene.ipc().pin_region(scene.me(), scene.below[REGION]);
    pinned.unwrap();
}

/// The other end is closed.
fn hang_up(scene: &Scene) {
    scene.ends.there.drop(&scene.realm);
}

fn receive(scene: &Scene) -> Result<(), Error> {
    End::new(1, scene.below[END])
        .receive(&scene.realm)
        .map(drop)
}

/// What was sent before.
fn receive_first(scene: &Scene) {
    scene.ends.here.receive(&scene.realm).unwrap();
}

/// Moves something to domain 2, as the kernel does to a process that it makes.
fn hand_over(scene: &Scene, what: Handle) -> Result<(), Error> {
    let (ipc, flags) = (scene.ipc(), GrantFlags::empty());
    let offer = ipc.begin(scene.me(), what, Mode::Move, ALL, flags)?;
    let ((), given) = ipc.deliver_all(vec![offer], &scene.realm.domains[2], || Ok(()))?;
    match given[0] {
        // It was revoked on the way.
        Handle::NONE => Err(Error::Revoked),
        _ => Ok(()),
    }
}

fn seal(scene: &Scene) {
    let domain = &scene.realm.domains[0];
    scene.ipc().seal_region(domain, scene.tops[REGION]).unwrap();
}

fn map_device(
    scene: &Scene,
    domain: usize,
    resource: Handle,
    policy: CachePolicy,
) -> Result<(), Error> {
    let (domain, start) = (&scene.realm.domains[domain], device(scene.realm.machine()));
    scene
        .ipc()
        .create_device_region(domain, resource, start, PAGE, policy)
        .map(drop)
}

fn reserve(scene: &Scene) -> Result<(), Error> {
    let reserved = scene.ipc().reserve_seat(scene.me(), scene.below[HUB]);
    reserved.map(drop)
}

/// The host connects once more to who has left, in a tenancy so much later.
fn connect(scene: &Scene, later: u32) -> Result<(), Error> {
    let (host, seat) = (&scene.realm.domains[0], scene.gone.seat);
    let (ipc, epoch) = (scene.ipc(), seat.epoch + later);
    ipc.connect_guest(host, scene.own, seat.peer, epoch)
        .map(drop)
}
