//! What a snapshot shares, copies and leaves out, page by page and table by table (I3, I7).

use crate::common::{READ, WRITE, World, page};
use abi::Error;
use fake::{Access, Config};
use mm::{Region, RegionOptions};

#[test]
fn tables_are_shared_until_written_and_only_those() {
    let world = World::large(1);
    let region = world.region(4 * 512);
    for at in 0..4 {
        world.set_word(&region, at * 512, at).unwrap();
    }
    let counts = fake::counts(&world.memory);
    let copy = world.snapshot(&region);
    let third = world.snapshot(&copy);
    // The cost of sharing is no frame at all.
    let now = fake::counts(&world.memory);
    assert_eq!((now.tables, now.pages), (counts.tables, counts.pages));
    let shared = |region: &Region| world.memory.large_and_shared_leaves(region).1;
    assert_eq!([&region, &copy, &third].map(|r| shared(r)), [4, 4, 4]);
    // Reading leaves everything where it is, also what nobody has touched.
    for at in 0..4 {
        assert_eq!(world.word(&copy, at * 512), at);
        assert_eq!(world.word(&copy, at * 512 + 1), 0);
    }
    assert_eq!([&region, &copy, &third].map(|r| shared(r)), [4, 4, 4]);
    world.set_word(&copy, 512, 9).unwrap();
    assert_eq!([&region, &copy, &third].map(|r| shared(r)), [4, 3, 4]);
    let now = fake::counts(&world.memory);
    // One leaf table and one frame were copied.
    assert_eq!(
        (now.tables, now.pages),
        (counts.tables + 1, counts.pages + 1)
    );
    world.set_word(&region, 512, 9).unwrap();
    assert_eq!([&region, &copy, &third].map(|r| shared(r)), [3, 3, 3]);
    // The last owner of the table and of the frame writes without any copy.
    let before = fake::counts(&world.memory);
    world.set_word(&third, 512, 9).unwrap();
    assert_eq!(fake::counts(&world.memory), before);
    let all = [region, copy, third];
    world.audit(&all);
    world.finish(&all);
}

#[test]
fn the_last_owner_of_a_page_writes_without_a_copy() {
    let world = World::new(2);
    let region = world.region(3);
    let a = world.map(0, &region, WRITE);
    world.store(0, 0, page(a, 0), 7).unwrap();
    let frame = |cpu: usize, va, access| {
        fake::on_cpu(cpu, || {
            fake::touch(&world.memory, &world.spaces[cpu], va, access).unwrap()
        })
    };
    let original = frame(0, a, Access::Read);
    let copy = world.snapshot(&region);
    let b = world.map(1, &copy, WRITE);
    assert_eq!(frame(1, b, Access::Read), original);
    assert_ne!(frame(0, a, Access::Write), original);
    // The table has another owner no more, and neither has the frame.
    assert_eq!(frame(1, b, Access::Write), original);
    assert_eq!(world.load(1, 1, b), Ok(7));

    // The same when the other side ends instead of writing.
    let again = world.snapshot(&copy);
    world.memory.destroy_region(&copy);
    let c = world.map(1, &again, WRITE);
    assert_eq!(frame(1, c, Access::Write), original);
    assert_eq!(world.load(1, 1, c), Ok(7));
    world.audit(&[region.clone(), again.clone()]);
    world.finish(&[region, again]);
}

#[test]
fn the_zero_frame_is_never_written_and_never_counted() {
    let world = World::new(2);
    let region = world.region(4);
    let (a, b) = (world.map(0, &region, WRITE), world.map(1, &region, READ));
    let zero = mm::Frames::zero_frame(world.memory.machine());
    let touch = |cpu: usize, va, access| {
        fake::on_cpu(cpu, || {
            fake::touch(&world.memory, &world.spaces[cpu], va, access)
        })
    };
    let frames = fake::counts(&world.memory);
    for at in 0..4 {
        assert_eq!(touch(1, page(b, at), Access::Read), Ok(zero));
        assert!(!world.reaches(0, page(a, at), Access::Write));
    }
    assert_eq!(fake::counts(&world.memory), frames);
    assert_eq!(region.present_pages(), 0);
    let copy = world.snapshot(&region);
    let c = world.map(1, &copy, WRITE);
    for (cpu, va) in [(0, a), (1, c)] {
        for at in 0..4 {
            assert_ne!(touch(cpu, page(va, at), Access::Write), Ok(zero));
            world.store(cpu, cpu, page(va, at), 5).unwrap();
        }
    }
    // CPU 1 had the zero frame cached where CPU 0 has written.
    for at in 0..4 {
        assert_eq!(world.load(1, 1, page(b, at)), Ok(5));
    }
    let other = world.region(1);
    assert_eq!(world.word(&other, 0), 0);
    let all = [region, copy, other];
    world.audit(&all);
    world.finish(&all);
}

#[test]
fn the_guard_of_a_stack_is_a_hole_in_its_snapshot_too() {
    let world = World::new(2);
    let stack = world
        .memory
        .create_stack_region(world.memory.account(), 8)
        .unwrap();
    world.set_word(&stack, 511, 3).unwrap();
    let copy = world.snapshot(&stack);
    let va = world.map(1, &copy, WRITE);
    assert_eq!(world.load(1, 1, page(va, 511)), Ok(3));
    world.store(1, 1, page(va, 504), 4).unwrap();
    for at in [0, 503] {
        assert_eq!(world.load(1, 1, page(va, at)), Err(Error::Range));
        assert_eq!(world.store(1, 1, page(va, at), 1), Err(Error::Range));
    }
    // Neither commit nor decommit makes memory of it.
    world.memory.commit(&copy, 0, 0).unwrap();
    world.memory.decommit(&copy, 0, 0).unwrap();
    assert_eq!(world.load(1, 1, page(va, 503)), Err(Error::Range));
    assert_eq!(world.load(1, 1, page(va, 511)), Ok(0));
    world.audit(&[stack.clone(), copy.clone()]);
    world.finish(&[stack, copy]);
}

#[test]
fn what_can_not_be_shared_page_by_page_has_no_snapshot() {
    let world = World::of(
        1,
        Config {
            frames: 64,
            initrd_frames: 2,
            ..Config::default()
        },
    );
    let ring = world
        .memory
        .create_ring_region(world.memory.account(), 2)
        .unwrap();
    let initrd = world.memory.machine().initrd();
    let initrd = world
        .memory
        .create_initrd_region(world.memory.account(), initrd, 5000)
        .unwrap();
    let image = world
        .memory
        .create_image(world.memory.account(), 4096)
        .unwrap();
    for region in [&ring, &initrd, &image] {
        let refused = world
            .memory
            .snapshot(world.memory.account(), region, 0, 0, false);
        assert_eq!(refused.err(), Some(Error::Unsupported));
        let refused = world.memory.decommit(region, 0, 0);
        assert_eq!(refused.err(), Some(Error::Unsupported));
    }
    let gone = world
        .memory
        .create_region(world.memory.account(), 4096, RegionOptions::default())
        .unwrap();
    world.memory.destroy_region(&gone);
    let refused = world
        .memory
        .snapshot(world.memory.account(), &gone, 0, 0, false);
    assert_eq!(refused.err(), Some(Error::Revoked));
    world.finish(&[ring, initrd, image]);
}
