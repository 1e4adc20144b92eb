//! A revoke at every moment of a call at which the CPU holds no lock: what is not done when it returns is
//! refused, and never done (I5).

mod common;

use std::sync::atomic::Ordering;

use abi::hub::PeerState;
use abi::ring::EndState;
use abi::{BindFlags, CachePolicy, Error, HubSignal, Mode, RegionInfo, Rights, RingClose};
use common::devices::{PAGE, device};
use common::ports::bind;
use common::revoked::{
    ALL, BITS, BOUND, Deed, END, HUB, NEW, PORT, PROCESS, REGION, RESOURCE, Scene, THREAD, TIMER,
    Way, interrupted_at_every_moment, is_bound,
};
use ipc::{Payload, Resource};

const DEEDS: &[Deed] = &[
    Deed {
        name: "reserve a seat",
        way: Way::Revoked(HUB),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.reserve_seat(domain, s.below[HUB]).map(drop)
        },
        done: |s| s.has_more(1),
    },
    Deed {
        name: "dismiss a guest",
        way: Way::Revoked(HUB),
        deed: |s| {
            let (domain, seat) = (&s.realm.domains[1], s.attached.seat);
            let ipc = &s.realm.ipc;
            ipc.dismiss_guest(domain, s.below[HUB], seat.peer, seat.epoch)
        },
        done: |s| s.stands(s.attached) == PeerState::Goodbye,
    },
    Deed {
        name: "say goodbye",
        way: Way::Revoked(HUB),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.dismiss_guest(domain, s.below[HUB], 0, 0)
        },
        done: |s| {
            let info = s.realm.ipc.hub_info(&s.realm.domains[0], s.hub.handle);
            info.unwrap().goodbye == 1
        },
    },
    Deed {
        name: "recover a seat",
        way: Way::Revoked(HUB),
        deed: |s| {
            let (domain, seat) = (&s.realm.domains[1], s.gone.seat);
            let ipc = &s.realm.ipc;
            ipc.recover_seat(domain, s.below[HUB], seat.peer, seat.epoch)
        },
        done: |s| s.hub.connect(&s.realm, s.gone.seat) == Err(Error::NotFound),
    },
    Deed {
        name: "connect to a guest",
        way: Way::Revoked(HUB),
        deed: |s| {
            let (domain, seat) = (&s.realm.domains[0], s.attached.seat);
            let connected = s
                .realm
                .ipc
                .connect_guest(domain, s.own, seat.peer, seat.epoch);
            connected.map(drop)
        },
        done: |s| s.has_more(0),
    },
    Deed {
        name: "claim a seat",
        way: Way::Moved(|s| s.reserved.member),
        deed: |s| s.reserved.claim(&s.realm).map(drop),
        done: |s| s.stands(s.reserved) == PeerState::Attached,
    },
    Deed {
        name: "leave a seat",
        way: Way::Moved(|s| s.attached.member),
        deed: |s| s.attached.leave(&s.realm),
        done: |s| s.stands(s.attached) == PeerState::Goodbye,
    },
    Deed {
        name: "signal a host",
        way: Way::Moved(|s| s.attached.member),
        deed: |s| s.attached.signal(&s.realm, HubSignal::Work),
        done: |s| {
            let domain = &s.realm.domains[0];
            let info = s.realm.ipc.object_info(domain, s.hub.handle).unwrap();
            // Two have joined, and one has left.
            info.messages > 3
        },
    },
    Deed {
        name: "part a resource",
        way: Way::Revoked(RESOURCE),
        deed: |s| {
            let (domain, start) = (&s.realm.domains[1], device(s.realm.machine()));
            let ipc = &s.realm.ipc;
            let part = ipc.part_of_resource(domain, s.below[RESOURCE], start, PAGE);
            part.map(drop)
        },
        done: |s| s.has_more(1),
    },
    Deed {
        name: "make a device region",
        way: Way::Revoked(RESOURCE),
        deed: |s| {
            let (domain, start) = (&s.realm.domains[1], device(s.realm.machine()));
            let (ipc, policy) = (&s.realm.ipc, CachePolicy::Uncached);
            let made = ipc.create_device_region(domain, s.below[RESOURCE], start, PAGE, policy);
            made.map(drop)
        },
        done: |s| s.has_more(1),
    },
    Deed {
        name: "make an interrupt",
        way: Way::Revoked(RESOURCE),
        deed: |s| {
            let (domain, ipc) = (&s.realm.domains[1], &s.realm.ipc);
            let made = ipc.create_interrupt(domain, s.below[RESOURCE], s.below[BITS], 1);
            made.map(drop)
        },
        done: |s| s.has_more(1),
    },
    Deed {
        name: "bind",
        way: Way::Revoked(PORT),
        deed: |s| {
            let (port, bits) = (s.below[PORT], s.below[BITS]);
            bind(&s.realm, 1, port, bits, BindFlags::empty(), NEW)
        },
        done: |s| is_bound(s, NEW),
    },
    Deed {
        name: "unbind",
        way: Way::Revoked(PORT),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.unbind_port(domain, s.below[PORT], BOUND)
        },
        done: |s| !is_bound(s, BOUND),
    },
    Deed {
        name: "limit a channel",
        way: Way::Revoked(END),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.limit_channel(domain, s.below[END], 5, 0)
        },
        done: |s| s.ends.here.info(&s.realm).message_rate == 5,
    },
    Deed {
        name: "send",
        way: Way::Revoked(END),
        deed: |s| {
            let end = common::messages::End::new(1, s.below[END]);
            end.send(&s.realm, b"it", &[])
        },
        done: |s| s.ends.there.info(&s.realm).queued == 1,
    },
    Deed {
        name: "share over a channel",
        way: Way::Revoked(END),
        deed: |s| s.grant(Mode::Share),
        done: |s| s.is_offered(Mode::Share),
    },
    Deed {
        name: "move over a channel",
        way: Way::Revoked(END),
        deed: |s| s.grant(Mode::Move),
        done: |s| s.is_offered(Mode::Move),
    },
    Deed {
        name: "accept",
        way: Way::Revoked(PROCESS),
        deed: |s| {
            let domain = &s.realm.domains[1];
            let accepted = s.realm.ipc.accept(domain, s.token, s.below[PROCESS]);
            accepted.map(drop)
        },
        done: |s| s.has_more(1),
    },
    Deed {
        name: "set a timer",
        way: Way::Revoked(TIMER),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.set_timer(domain, s.below[TIMER], 0, 0)
        },
        done: |s| {
            let domain = &s.realm.domains[0];
            let info = s.realm.ipc.object_info(domain, s.tops[TIMER]);
            info.unwrap().messages == 1
        },
    },
    Deed {
        name: "seal",
        way: Way::Revoked(REGION),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.seal_region(domain, s.below[REGION])
        },
        done: |s| s.realm.region_of(0, s.tops[REGION]).is_sealed(),
    },
    Deed {
        name: "decommit",
        way: Way::Revoked(REGION),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm
                .ipc
                .decommit_region(domain, s.below[REGION], 0, PAGE)
        },
        done: |s| s.realm.load(0, 0, s.va) == Ok(0),
    },
    Deed {
        name: "destroy",
        way: Way::Revoked(REGION),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.destroy_region(domain, s.below[REGION])
        },
        done: |s| s.realm.look_up(0, s.tops[REGION]).is_err(),
    },
    Deed {
        name: "fill pages",
        way: Way::Revoked(REGION),
        deed: |s| {
            let domain = &s.realm.domains[1];
            let region = s.below[REGION];
            s.realm.ipc.commit_region(domain, region, PAGE, PAGE)
        },
        done: |s| facts(s).present_pages == 2,
    },
    Deed {
        name: "copy",
        way: Way::Revoked(REGION),
        deed: |s| {
            let (domain, to) = (&s.realm.domains[1], s.below[REGION]);
            let copied = s.realm.ipc.copy_region(domain, to, 0, s.spare, 0, 8);
            copied.map(drop)
        },
        done: |s| s.realm.load(0, 0, s.va) == Ok(0),
    },
    Deed {
        name: "pin",
        way: Way::Revoked(REGION),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.pin_region(domain, s.below[REGION])
        },
        done: |s| facts(s).pins == 1,
    },
    Deed {
        name: "make something of a part",
        way: Way::Revoked(REGION),
        deed: |s| {
            let (domain, of) = (&s.realm.domains[1], s.below[REGION]);
            let ipc = &s.realm.ipc;
            let (by, ..) = ipc.part_of_region(domain, of, Rights::READ, 0, PAGE)?;
            let payload = Payload::Resource(registers(s));
            ipc.install_by(&by, domain, payload, ALL).map(drop)
        },
        done: |s| s.has_more(1),
    },
    Deed {
        name: "begin something with what is made",
        way: Way::Revoked(RESOURCE),
        deed: |s| {
            let (domain, resource) = (&s.realm.domains[1], s.below[RESOURCE]);
            let ipc = &s.realm.ipc;
            let (by, _) = ipc.resource(domain, resource, Rights::MANAGE)?;
            let payload = Payload::Resource(registers(s));
            let made = ipc.install_with(&by, domain, payload, ALL, || touch(s));
            made.map(drop)
        },
        done: was_touched,
    },
    Deed {
        name: "close an end of a ring",
        way: Way::Moved(|s| s.ring),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.close_ring(domain, s.ring, RingClose::Orderly)
        },
        done: |s| {
            let domain = &s.realm.domains[0];
            let info = s.realm.ipc.ring_info(domain, s.other_end).unwrap();
            info.consumer_state != EndState::Open as u32
        },
    },
    Deed {
        name: "receive",
        way: Way::Revoked(END),
        deed: |s| {
            let end = common::messages::End::new(1, s.below[END]);
            end.receive(&s.realm).map(drop)
        },
        done: |s| s.ends.here.info(&s.realm).queued == 0,
    },
    Deed {
        name: "do something with a process",
        way: Way::Revoked(PROCESS),
        deed: |s| {
            let (domain, process) = (&s.realm.domains[1], s.below[PROCESS]);
            let ipc = &s.realm.ipc;
            ipc.on_process(domain, process, Rights::DESTROY, |_| touch(s))
        },
        done: was_touched,
    },
    Deed {
        name: "do something with a thread",
        way: Way::Revoked(THREAD),
        deed: |s| {
            let (domain, thread) = (&s.realm.domains[1], s.below[THREAD]);
            let ipc = &s.realm.ipc;
            ipc.on_task(domain, thread, Rights::MANAGE, |_| touch(s))
        },
        done: was_touched,
    },
    Deed {
        name: "map a submission ring",
        way: Way::Reduced(|s| s.submissions),
        deed: |s| {
            let domain = &s.realm.domains[1];
            let mapped = s.realm.ipc.map_submission_ring(domain, s.submissions);
            mapped.map(drop)
        },
        done: |s| s.realm.domains[1].space().mapping_count() > 0,
    },
];

/// Of a device.
fn registers(scene: &Scene) -> Resource {
    Resource::new(device(scene.realm.machine()), PAGE).unwrap()
}

fn touch(scene: &Scene) -> Result<(), Error> {
    scene.touched.store(true, Ordering::Relaxed);
    Ok(())
}

fn was_touched(scene: &Scene) -> bool {
    scene.touched.load(Ordering::Relaxed)
}

/// What domain 0 learns of its region.
fn facts(scene: &Scene) -> RegionInfo {
    let domain = &scene.realm.domains[0];
    let told = scene.realm.ipc.region_info(domain, scene.tops[REGION]);
    told.unwrap()
}

#[test]
fn what_is_not_done_when_a_revoke_returns_is_refused_and_never_done() {
    DEEDS.iter().for_each(interrupted_at_every_moment);
}
