//! Regions and mappings: what a program sees, and what it is refused (I3, I14, I15).

use crate::common;
use std::sync::Arc;
use std::thread;

use crate::common::{LEAF, READ, WRITE, World, page};
use abi::{Error, Rights};
use fake::{Access, Config};
use mm::{PageAttributes, Permit, RING_CONSUMER_VIEW, RING_PRODUCER_VIEW, RegionOptions};

const TEXT: PageAttributes = PageAttributes {
    write: false,
    execute: true,
};
const DATA: PageAttributes = PageAttributes {
    write: true,
    execute: false,
};

#[test]
fn what_one_process_fills_in_is_there_for_all() {
    let world = World::new(2);
    let region = world.region(3);
    let (a, b) = (world.map(0, &region, WRITE), world.map(1, &region, READ));
    world.store(0, 0, page(a, 1), 42).unwrap();
    // No fault: the entry that CPU 0 wrote is the one that CPU 1 walks.
    assert_eq!(world.memory.machine().read(1, page(b, 1)), Ok(42));
    assert_eq!(region.present_pages(), 1);
    assert!(!world.reaches(1, page(b, 2), Access::Read));
    world.audit(std::slice::from_ref(&region));
    world.finish(&[region]);
}

#[test]
fn two_processes_that_fill_one_page_at_once_get_one_frame() {
    for _ in 0..20 {
        let world = World::new(4);
        let region = world.region(2);
        let vas: Vec<u64> = (0..4)
            .map(|space| world.map(space, &region, WRITE))
            .collect();
        let frames: Vec<_> = thread::scope(|scope| {
            let world = &world;
            let threads: Vec<_> = (0..4)
                .map(|cpu| {
                    let va = vas[cpu];
                    scope.spawn(move || {
                        fake::on_cpu(cpu, || {
                            fake::touch(&world.memory, &world.spaces[cpu], va, Access::Write)
                        })
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap().unwrap())
                .collect()
        });
        assert!(frames.iter().all(|frame| *frame == frames[0]));
        assert_eq!(region.present_pages(), 1);
        world.audit(std::slice::from_ref(&region));
        world.finish(&[region]);
    }
}

#[test]
fn a_read_only_mapping_refuses_writes_while_another_takes_them() {
    let world = World::new(2);
    let region = world.region(1);
    let (a, b) = (world.map(0, &region, READ), world.map(1, &region, WRITE));
    assert_eq!(world.store(0, 0, a, 1), Err(Error::Denied));
    world.store(1, 1, b, 2).unwrap();
    assert_eq!(world.store(0, 0, a, 1), Err(Error::Denied));
    assert_eq!(world.load(0, 0, a), Ok(2));
    world.finish(&[region]);
}

#[test]
fn what_is_past_the_end_of_a_region_is_no_memory() {
    let world = World::new(1);
    let region = world.region(3);
    let va = world.map(0, &region, WRITE);
    assert_eq!(world.load(0, 0, page(va, 3)), Err(Error::Range));
    assert_eq!(world.store(0, 0, page(va, 511), 1), Err(Error::Range));
    assert_eq!(world.load(0, 0, va + LEAF), Err(Error::NotFound));
    let mut bytes = [0; 2];
    assert_eq!(
        world.memory.read_region(&region, 3 * 4096 - 1, &mut bytes),
        Err(Error::Range)
    );
    assert_eq!(
        world.memory.write_region(&region, u64::MAX, &bytes),
        Err(Error::Range)
    );
    world.finish(&[region]);
}

#[test]
fn writable_memory_is_never_executed() {
    let world = World::new(1);
    let region = world.region(1);
    let both = world.try_map(0, common::request(&region, &world.permit, Rights::ACCESS));
    assert_eq!(both, Err(Error::Invalid));
    let va = world.map(0, &region, WRITE);
    let both = world.memory.protect(&world.spaces[0], va, Rights::ACCESS);
    assert_eq!(both, Err(Error::Invalid));
    world.store(0, 0, va, 1).unwrap();
    let fetch = || fake::touch(&world.memory, &world.spaces[0], va, Access::Execute);
    assert_eq!(fetch(), Err(Error::Denied));
    let protected = world
        .memory
        .protect(&world.spaces[0], va, Rights::READ | Rights::EXECUTE);
    assert_eq!(protected, Ok(()));
    assert_eq!(fetch(), Err(Error::Denied));
    let image = world
        .memory
        .create_image(world.memory.account(), 4096)
        .unwrap();
    let both = PageAttributes {
        write: true,
        execute: true,
    };
    assert_eq!(
        world.memory.define_page(&image, 0, both),
        Err(Error::Invalid)
    );
    world.memory.define_page(&image, 0, TEXT).unwrap();
    assert_eq!(
        world.memory.define_page(&image, 0, DATA),
        Err(Error::Invalid)
    );
    world.finish(&[region, image]);
}

#[test]
fn the_sides_of_a_ring_write_their_own_pages_and_see_each_others() {
    let world = World::new(2);
    let ring = world
        .memory
        .create_ring_region(world.memory.account(), 2)
        .unwrap();
    let map = |space, view| {
        let mut request = common::request(&ring, &world.permit, WRITE);
        request.view = view;
        world.try_map(space, request).unwrap()
    };
    let (p, c) = (map(0, RING_PRODUCER_VIEW), map(1, RING_CONSUMER_VIEW));
    // H, P, C, then the data twice.
    for at in 0..7 {
        let produced = world.store(0, 0, page(p, at), 10 + at);
        let consumed = world.store(1, 1, page(c, at), 20 + at);
        assert_eq!(produced.is_ok(), at == 1 || at >= 3, "page {at}");
        assert_eq!(consumed.is_ok(), at == 2, "page {at}");
    }
    assert_eq!(world.load(1, 1, page(c, 1)), Ok(11));
    assert_eq!(world.load(0, 0, page(p, 2)), Ok(22));
    for at in [3, 4] {
        world.store(0, 0, page(p, at), 30 + at).unwrap();
        assert_eq!(world.load(1, 1, page(c, at + 2)), Ok(30 + at));
    }
    assert_eq!(world.load(0, 0, page(p, 7)), Err(Error::Range));
    let protect = world.memory.protect(&world.spaces[0], p, READ);
    assert_eq!(protect, Err(Error::Unsupported));
    assert_eq!(world.memory.seal(&ring), Err(Error::Unsupported));
    world.audit(std::slice::from_ref(&ring));
    world.finish(&[ring]);
}

#[test]
fn instances_of_an_image_share_text_and_have_their_own_data() {
    let world = World::new(2);
    let image = world
        .memory
        .create_image(world.memory.account(), 5 * 4096)
        .unwrap();
    for (at, attributes) in [(0, TEXT), (2, DATA), (3, DATA)] {
        world.memory.define_page(&image, at, attributes).unwrap();
    }
    assert_eq!(
        world
            .memory
            .instantiate(world.memory.account(), &image)
            .err(),
        Some(Error::Invalid)
    );
    world
        .memory
        .load_image(&image, 0, &1u64.to_le_bytes())
        .unwrap();
    world
        .memory
        .load_image(&image, 2 * 4096, &2u64.to_le_bytes())
        .unwrap();
    world.memory.finish_image(&image);
    let late = world.memory.load_image(&image, 0, &[0]);
    assert_eq!(late, Err(Error::Sealed));

    let first = world
        .memory
        .instantiate(world.memory.account(), &image)
        .unwrap();
    let second = world
        .memory
        .instantiate(world.memory.account(), &image)
        .unwrap();
    let (a, b) = (
        world.map(0, &first, Rights::ACCESS),
        world.map(1, &second, Rights::ACCESS),
    );
    let frame = |cpu: usize, va, access| {
        fake::on_cpu(cpu, || {
            fake::touch(&world.memory, &world.spaces[cpu], va, access)
        })
    };
    assert_eq!(
        frame(0, a, Access::Execute).unwrap(),
        frame(1, b, Access::Execute).unwrap()
    );
    assert_eq!(frame(0, a, Access::Write), Err(Error::Denied));
    assert_eq!(frame(0, page(a, 1), Access::Read), Err(Error::Range));
    for at in [2, 3] {
        assert_eq!(frame(0, page(a, at), Access::Execute), Err(Error::Denied));
        world.store(0, 0, page(a, at), 99).unwrap();
    }
    assert_eq!(world.load(1, 1, page(b, 2)), Ok(2));
    assert_eq!(world.load(1, 1, page(b, 3)), Ok(0));
    assert_eq!(world.load(1, 1, page(b, 4)), Err(Error::Range));
    let all = [image.clone(), first.clone(), second.clone()];
    world.audit(&all);

    // The text stays as long as one of them does.
    world.memory.destroy_region(&image);
    world.memory.destroy_region(&first);
    assert_eq!(world.load(1, 1, b), Ok(1));
    assert_eq!(
        world
            .memory
            .instantiate(world.memory.account(), &image)
            .err(),
        Some(Error::Revoked)
    );
    world.audit(std::slice::from_ref(&second));
    world.finish(&[second]);
}

#[test]
fn the_initrd_can_be_read_by_all_and_written_by_nobody() {
    let world = World::of(
        1,
        Config {
            frames: 64,
            initrd_frames: 2,
            ..Config::default()
        },
    );
    let machine = world.memory.machine();
    mm::Frames::write(machine, machine.initrd(), 0, &77u64.to_le_bytes());
    let region = world
        .memory
        .create_initrd_region(world.memory.account(), machine.initrd(), 5000)
        .unwrap();
    let refused = world.try_map(0, common::request(&region, &world.permit, WRITE));
    assert_eq!(refused, Err(Error::Sealed));
    let va = world.map(0, &region, READ);
    assert_eq!(world.load(0, 0, va), Ok(77));
    assert_eq!(world.store(0, 0, va, 1), Err(Error::Denied));
    assert_eq!(
        world.memory.write_region(&region, 0, &[1]),
        Err(Error::Sealed)
    );
    world.finish(&[region]);
}

#[test]
fn a_sealed_region_is_never_writable_again() {
    let world = World::new(1);
    let region = world.region(1);
    let va = world.map(0, &region, WRITE);
    world.store(0, 0, va, 5).unwrap();
    world.memory.seal(&region).unwrap();
    assert!(region.is_sealed());
    assert_eq!(
        world.memory.protect(&world.spaces[0], va, WRITE),
        Err(Error::Sealed)
    );
    let again = world.try_map(0, common::request(&region, &world.permit, WRITE));
    assert_eq!(again, Err(Error::Sealed));
    assert_eq!(
        world.memory.write_region(&region, 0, &[1]),
        Err(Error::Sealed)
    );
    let other = world.map(0, &region, READ);
    assert_eq!(world.load(0, 0, other), Ok(5));
    world.finish(&[region]);
}

#[test]
fn protect_stays_within_the_capability_and_widens_without_asking_anybody() {
    let world = World::shared();
    let region = world.region(1);
    let permit: Arc<Permit> = Arc::new(Permit::of((), WRITE));
    let request = common::request(&region, &permit, READ);
    let va = world.try_map(0, request).unwrap();
    assert_eq!(world.load(1, 0, va), Ok(0));
    let execute = world.memory.protect(&world.spaces[0], va, Rights::ACCESS);
    assert_eq!(execute, Err(Error::Denied));
    let before = world.memory.shootdowns();
    world.memory.protect(&world.spaces[0], va, WRITE).unwrap();
    assert_eq!(world.memory.shootdowns(), before);
    // CPU 1 still has the page cached for reading only, faults, and goes on.
    assert!(!world.reaches(1, va, Access::Write));
    world.store(1, 0, va, 3).unwrap();
    assert_eq!(world.load(0, 0, va), Ok(3));
    permit.set_live(false);
    assert_eq!(
        world.memory.protect(&world.spaces[0], va, READ),
        Err(Error::Revoked)
    );
    world.finish(&[region]);
}

#[test]
fn nothing_is_made_of_a_dead_permit_or_a_destroyed_region() {
    let world = World::new(1);
    let region = world.region(1);
    world.permit.set_live(false);
    let map = || world.try_map(0, common::request(&region, &world.permit, READ));
    assert_eq!(map(), Err(Error::Revoked));
    world.permit.set_live(true);
    world.memory.destroy_region(&region);
    assert_eq!(map(), Err(Error::Revoked));
    assert_eq!(
        world.memory.write_region(&region, 0, &[1]),
        Err(Error::Revoked)
    );
    assert_eq!(world.spaces[0].mapping_count(), 0);
    assert_eq!(
        world
            .memory
            .create_region(world.memory.account(), 0, RegionOptions::default())
            .err(),
        Some(Error::Invalid)
    );
    let large =
        world
            .memory
            .create_region(world.memory.account(), u64::MAX, RegionOptions::default());
    assert_eq!(large.err(), Some(Error::TooLarge));
    let ring = world
        .memory
        .create_ring_region(world.memory.account(), u64::MAX / 2);
    assert_eq!(ring.err(), Some(Error::TooLarge));
    world.finish(&[]);
}
