//! Regions, and resources that they are made of.

use abi::{CachePolicy, Error, MapFlags, RegionInfo, Rights, SnapshotFlags};
use fake::{FakeMachine, FakeProcess};
use ipc::{Payload, Resource};

use super::deed::{Deed, Way};
use super::waiting::{touch, was_touched};
use crate::common::READ;
use crate::common::devices::{PAGE, device};
use crate::common::revoked::{ALL, BITS, IMAGE, REGION, RESOURCE, Scene};

pub const DEEDS: &[Deed] = &[
    Deed::new(
        "seal",
        &["region_seal.region"],
        Way::Revoked(REGION),
        |s| s.ipc().seal_region(s.me(), s.below[REGION]),
        |s| s.realm.region_of(0, s.tops[REGION]).is_sealed(),
    ),
    Deed::new(
        "destroy",
        &["region_destroy.region"],
        Way::Revoked(REGION),
        |s| s.ipc().destroy_region(s.me(), s.below[REGION]),
        |s| s.realm.look_up(0, s.tops[REGION]).is_err(),
    ),
    Deed::new(
        "fill pages",
        &["region_commit.region"],
        Way::Revoked(REGION),
        |s| s.ipc().commit_region(s.me(), s.below[REGION], PAGE, PAGE),
        |s| facts(s).present_pages == 2,
    ),
    Deed::new(
        "decommit",
        &["region_decommit.region"],
        Way::Revoked(REGION),
        |s| s.ipc().decommit_region(s.me(), s.below[REGION], 0, PAGE),
        |s| s.realm.load(0, 0, s.va) == Ok(0),
    ),
    Deed::new(
        "snapshot",
        &["region_snapshot.region"],
        Way::Revoked(REGION),
        |s| {
            let (of, flags) = (s.below[REGION], SnapshotFlags::empty());
            s.ipc().snapshot_region(s.me(), of, 0, 0, flags).map(drop)
        },
        Scene::is_copied,
    )
    .in_one_hold(),
    Deed::new(
        "pin",
        &["region_pin.region"],
        Way::Revoked(REGION),
        |s| s.ipc().pin_region(s.me(), s.below[REGION]),
        |s| facts(s).pins == 1,
    ),
    Deed::new(
        "unpin",
        &["region_unpin.region"],
        Way::Reduced(|s| s.pinned),
        |s| s.ipc().unpin_region(s.me(), s.pinned),
        // What it has left goes with its right to map.
        |s| s.realm.region_of(1, s.pinned).pin_count() == 1,
    )
    .after(|s| s.ipc().pin_region(s.me(), s.pinned).unwrap()),
    Deed::new(
        "map",
        &["map.region"],
        Way::Revoked(REGION),
        |s| {
            let (region, flags) = (s.below[REGION], MapFlags::empty());
            s.ipc().map(s.me(), region, 0, 0, 0, READ, flags).map(drop)
        },
        Scene::is_mapped,
    )
    .in_one_hold(),
    Deed::new(
        "copy",
        &["region_copy.region"],
        Way::Revoked(REGION),
        |s| {
            let to = s.below[REGION];
            s.ipc().copy_region(s.me(), to, 0, s.spare, 0, 8).map(drop)
        },
        |s| s.realm.load(0, 0, s.va) == Ok(0),
    ),
    Deed::new(
        "make something of a part",
        // The kernel makes images so.
        &["image_create.region"],
        Way::Revoked(REGION),
        |s| make_of_part(s, |s| Ok(Payload::Resource(registers(s)))),
        |s| s.has_more(1),
    ),
    Deed::new(
        "make a process of an image",
        // And processes.
        &["process_spawn.args"],
        Way::Revoked(IMAGE),
        |s| make_process(s, |s| Ok(FakeProcess::of(s.me().koid()))),
        |s| s.has_more(1),
    ),
    Deed::new(
        "begin something with what is made",
        // The kernel begins a trace so.
        &["trace_start.resource"],
        Way::Revoked(RESOURCE),
        |s| {
            let of = s.below[RESOURCE];
            let made = s.ipc().make_by_resource(s.me(), of, ALL, |_| {
                let begin = || touch(s).unwrap();
                Ok((Payload::Resource(registers(s)), begin))
            });
            made.map(drop)
        },
        was_touched,
    ),
    Deed::new(
        "do something by a resource",
        &["trace_stop.resource"],
        Way::Revoked(RESOURCE),
        |s| {
            let by = s.below[RESOURCE];
            s.ipc()
                .on_resource(s.me(), by, Rights::MANAGE, |_| touch(s))
        },
        was_touched,
    ),
    Deed::new(
        "part a resource",
        &["resource_part.resource"],
        Way::Revoked(RESOURCE),
        |s| {
            let (of, start) = (s.below[RESOURCE], device(s.realm.machine()));
            s.ipc().part_of_resource(s.me(), of, start, PAGE).map(drop)
        },
        |s| s.has_more(1),
    ),
    Deed::new(
        "make a device region",
        &["region_device.resource"],
        Way::Revoked(RESOURCE),
        |s| {
            let (of, start) = (s.below[RESOURCE], device(s.realm.machine()));
            let (ipc, policy) = (s.ipc(), CachePolicy::Uncached);
            ipc.create_device_region(s.me(), of, start, PAGE, policy)
                .map(drop)
        },
        |s| s.has_more(1),
    ),
    Deed::new(
        "make an interrupt",
        &["interrupt_create.resource"],
        Way::Revoked(RESOURCE),
        interrupt,
        |s| s.has_more(1),
    ),
    Deed::new(
        "make an interrupt of what is taken away",
        &["interrupt_create.notification"],
        Way::Revoked(BITS),
        interrupt,
        |s| s.has_more(1),
    ),
];

/// Makes something of a part of the region.
pub fn make_of_part(
    scene: &Scene,
    make: fn(&Scene) -> Result<Payload<FakeMachine>, Error>,
) -> Result<(), Error> {
    let (ipc, of) = (scene.ipc(), scene.below[REGION]);
    ipc.make_of_region(scene.me(), of, (0, PAGE), ALL, |_, _, _| make(scene))
        .map(drop)
}

/// Makes a process of the image.
pub fn make_process(
    scene: &Scene,
    make: fn(&Scene) -> Result<FakeProcess, Error>,
) -> Result<(), Error> {
    let (ipc, of) = (scene.ipc(), scene.below[IMAGE]);
    let make = |_: &_, _| make(scene).map(|process| (process, scene.realm.domains[2].clone()));
    let made = ipc.make_process(scene.me(), of, make, |_| Ok(Vec::new()), |_, _| (), |_| ());
    made.map(drop)
}

/// Makes an interrupt.
pub fn interrupt(scene: &Scene) -> Result<(), Error> {
    let (resource, bits) = (scene.below[RESOURCE], scene.below[BITS]);
    let ipc = scene.ipc();
    ipc.create_interrupt(scene.me(), resource, bits, 1)
        .map(drop)
}

/// Of a device.
fn registers(scene: &Scene) -> Resource {
    Resource::new(device(scene.realm.machine()), PAGE).unwrap()
}

/// What domain 0 learns of its region.
fn facts(scene: &Scene) -> RegionInfo {
    let domain = &scene.realm.domains[0];
    let told = scene.ipc().region_info(domain, scene.tops[REGION]);
    told.unwrap()
}
