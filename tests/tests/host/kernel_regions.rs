//! Regions that the kernel writes and programs can only read: traces and statistics.

use crate::common::{READ, WRITE, World, page};
use abi::{Error, RegionKind};
use fake::Config;
use mm::Frames;

#[test]
fn what_the_kernel_tells_can_be_read_and_never_written() {
    let world = World::of(2, Config::default());
    let memory = &world.memory;
    let region = memory
        .create_kernel_region(memory.account(), 600)
        .expect("there is memory");
    assert_eq!(
        (region.kind(), region.present_pages()),
        (RegionKind::Kernel, 600)
    );
    let readers = [world.map(0, &region, READ), world.map(1, &region, WRITE)];
    for at in [0, 511, 599] {
        let frame = region.fixed_frame(at as usize).expect("all are there");
        memory.machine().store_u32(frame, 0, 7 + at as u32);
        for (space, &va) in readers.iter().enumerate() {
            assert_eq!(world.load(space, space, page(va, at)), Ok(7 + at));
            // Whatever the mapping allows, the page does not.
            assert_eq!(
                world.store(space, space, page(va, at), 1),
                Err(Error::Denied)
            );
        }
    }
    let copied = memory.snapshot(memory.account(), &region, 0, 0, false);
    assert_eq!(copied.unwrap_err(), Error::Unsupported);
    assert_eq!(memory.seal(&region), Err(Error::Unsupported));
    assert_eq!(memory.decommit(&region, 0, 0), Err(Error::Unsupported));
    world.audit(std::slice::from_ref(&region));
    world.finish(&[region]);
}

#[test]
fn a_kernel_region_that_does_not_fit_takes_nothing() {
    let world = World::of(1, Config::default());
    let memory = &world.memory;
    for pages in [1 << 30, u64::MAX] {
        let refused = memory.create_kernel_region(memory.account(), pages);
        let error = refused.unwrap_err();
        assert!(
            matches!(error, Error::NoMemory | Error::TooLarge),
            "{error}"
        );
    }
    world.finish(&[]);
}

#[test]
fn the_frames_of_the_kernel_itself_outlive_every_view_of_them() {
    let world = World::of(
        1,
        Config {
            initrd_frames: 2,
            ..Config::default()
        },
    );
    let memory = &world.memory;
    let first = memory.machine().initrd();
    for _ in 0..2 {
        let region = memory
            .create_image_view(memory.account(), first, 2)
            .expect("there is memory");
        let va = world.map(0, &region, WRITE);
        assert!(world.load(0, 0, page(va, 1)).is_ok());
        assert_eq!(world.store(0, 0, page(va, 1), 1), Err(Error::Denied));
        memory.destroy_region(&region);
        assert!(world.load(0, 0, page(va, 1)).is_err());
    }
    world.finish(&[]);
}
