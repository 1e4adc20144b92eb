//! Memory in one piece, for devices.

use crate::common::realm::Realm;
use crate::common::{WRITE, World, page};
use abi::{Error, RegionFlags, RegionKind, Rights};
use fake::{Access, Config};
use mm::Frame;

fn world() -> World {
    World::of(
        1,
        Config {
            frames: 2048,
            ..Config::default()
        },
    )
}

#[test]
fn contiguous_memory_is_in_one_piece_zeroed_and_writable() {
    let world = world();
    for pages in [1, 2, 3, 512, 700] {
        let region = world
            .memory
            .create_contiguous_region(world.memory.account(), pages * 4096, None)
            .unwrap();
        assert_eq!(region.kind(), RegionKind::Contiguous);
        assert_eq!(region.present_pages(), pages);
        let first = Frame::containing(region.physical_address().unwrap());
        let va = world.map(0, &region, WRITE);
        for at in 0..pages {
            assert_eq!(world.load(0, 0, page(va, at)), Ok(0));
            world.store(0, 0, page(va, at), at).unwrap();
            let space = &world.spaces[0];
            let frame = fake::touch(&world.memory, space, page(va, at), Access::Read).unwrap();
            assert_eq!(frame.number(), first.number() + at);
        }
        world.audit(std::slice::from_ref(&region));
        world.memory.destroy_region(&region);
    }
    world.finish(&[]);
}

#[test]
fn memory_in_pieces_has_no_contiguous_region_and_loses_nothing() {
    let world = world();
    world.memory.machine().refuse_runs(true);
    let refused = world
        .memory
        .create_contiguous_region(world.memory.account(), 3 * 4096, None);
    assert_eq!(refused.unwrap_err(), Error::NoMemory);
    world.finish(&[]);
}

#[test]
fn fixed_frames_are_neither_copied_nor_sealed_nor_decommitted() {
    let world = world();
    let region = world
        .memory
        .create_contiguous_region(world.memory.account(), 600 * 4096, None)
        .unwrap();
    let memory = &world.memory;
    let copied = memory.snapshot(memory.account(), &region, 0, 0, false);
    assert_eq!(copied.unwrap_err(), Error::Unsupported);
    assert_eq!(memory.seal(&region), Err(Error::Unsupported));
    assert_eq!(memory.decommit(&region, 0, 0), Err(Error::Unsupported));
    assert_eq!(memory.commit(&region, 0, 0), Ok(()));
    world.finish(&[region]);
}

#[test]
fn only_who_manages_it_is_told_where_it_is() {
    let realm = Realm::new(1);
    let domain = &realm.domains[0];
    let flags = RegionFlags::CONTIGUOUS;
    let region = realm.ipc.create_region(domain, 8192, flags, None).unwrap();
    let told = realm.ipc.region_info(domain, region).unwrap();
    assert_ne!(told.physical_address, u64::MAX);
    let less = realm
        .ipc
        .derive(domain, region, Rights::all() - Rights::MANAGE)
        .unwrap();
    let untold = realm.ipc.region_info(domain, less).unwrap();
    assert_eq!(untold.physical_address, u64::MAX);
    for other in [
        RegionFlags::OVERCOMMIT,
        RegionFlags::EXECUTE,
        RegionFlags::EXECUTE | RegionFlags::JIT,
    ] {
        let refused = realm.ipc.create_region(domain, 8192, flags | other, None);
        assert_eq!(refused, Err(Error::Invalid));
    }
    realm.finish();
}
