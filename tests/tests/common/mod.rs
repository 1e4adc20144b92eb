//! What the tests of `mm` on the fake machine have in common.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod again;
pub mod calls;
pub mod devices;
pub mod endings;
pub mod hubs;
pub mod lent;
pub mod messages;
pub mod pool;
pub mod ports;
pub mod quotas;
pub mod realm;
pub mod registered;
pub mod revoked;
pub mod ring_pair;
pub mod scenes;
pub mod stage;
pub mod submissions;
pub mod waiting;
pub mod ways;

use std::sync::Arc;

use abi::limits::LEAF_SIZE;
use abi::{Error, Resources, Rights};
use fake::{Access, Config, Memory};
use mm::{AddressSpace, MapRequest, Permit, Region, RegionOptions};

/// Where the tests map.
pub const BASE: u64 = 0x4000_0000;
pub const READ: Rights = Rights::READ;
pub const WRITE: Rights = Rights::READ.union(Rights::WRITE);

/// A small machine, and spaces that its CPUs have loaded, each its own.
pub struct World {
    pub memory: Arc<Memory>,
    pub spaces: Vec<Arc<AddressSpace>>,
    pub permit: Arc<Permit>,
}

impl World {
    /// A machine with room for snapshots of several leaf tables.
    pub fn large(spaces: usize) -> World {
        World::of(
            spaces,
            Config {
                frames: 8192,
                ..Config::default()
            },
        )
    }

    pub fn new(spaces: usize) -> World {
        World::of(
            spaces,
            Config {
                frames: 1024,
                ..Config::default()
            },
        )
    }

    pub fn of(spaces: usize, config: Config) -> World {
        let memory = fake::start(config);
        let spaces: Vec<_> = (0..spaces)
            .map(|_| memory.create_space(memory.account(), BASE).unwrap())
            .collect();
        for (cpu, space) in spaces.iter().enumerate().take(config.cpus) {
            fake::enter(&memory, cpu, Some(space));
        }
        World {
            memory,
            spaces,
            permit: Arc::new(Permit::new()),
        }
    }

    /// One space that CPUs 0 and 1 have both loaded.
    pub fn shared() -> World {
        let world = World::new(1);
        fake::enter(&world.memory, 1, Some(&world.spaces[0]));
        world
    }

    pub fn region(&self, pages: u64) -> Arc<Region> {
        self.memory
            .create_region(
                self.memory.account(),
                pages * 4096,
                RegionOptions::default(),
            )
            .unwrap()
    }

    /// Keeps a region where it is, all of it.
    pub fn pin(&self, region: &Region, permit: &Arc<Permit>) {
        self.memory.pin(region, permit).unwrap();
        self.memory.fill_pinned(region, 0, 0).unwrap();
    }

    pub fn map(&self, space: usize, region: &Arc<Region>, access: Rights) -> u64 {
        self.try_map(space, request(region, &self.permit, access))
            .unwrap()
    }

    pub fn try_map(&self, space: usize, request: MapRequest<'_>) -> Result<u64, Error> {
        self.memory.map(&self.spaces[space], request)
    }

    pub fn load(&self, cpu: usize, space: usize, va: u64) -> Result<u64, Error> {
        fake::on_cpu(cpu, || fake::load(&self.memory, &self.spaces[space], va))
    }

    pub fn store(&self, cpu: usize, space: usize, va: u64, value: u64) -> Result<(), Error> {
        fake::on_cpu(cpu, || {
            fake::store(&self.memory, &self.spaces[space], va, value)
        })
    }

    /// A snapshot of all of a region, promised its worst case.
    pub fn snapshot(&self, source: &Region) -> Arc<Region> {
        self.memory
            .snapshot(self.memory.account(), source, 0, 0, false)
            .unwrap()
    }

    /// The first word of a page, as the kernel reads it.
    pub fn word(&self, region: &Region, page: u64) -> u64 {
        let mut bytes = [0; 8];
        self.memory
            .read_region(region, page * 4096, &mut bytes)
            .unwrap();
        u64::from_le_bytes(bytes)
    }

    /// Writes the first word of a page as the kernel does.
    pub fn set_word(&self, region: &Region, page: u64, value: u64) -> Result<(), Error> {
        self.memory
            .write_region(region, page * 4096, &value.to_le_bytes())
    }

    /// Takes all memory that is promised to nobody, as a region.
    pub fn take_the_rest(&self) -> Arc<Region> {
        let mut pages = fake::counts(&self.memory).available;
        loop {
            assert!(pages > 0, "nothing is left");
            let options = RegionOptions::default();
            match self
                .memory
                .create_region(self.memory.account(), pages * 4096, options)
            {
                Ok(region) => return region,
                Err(_) => pages -= 1,
            }
        }
    }

    /// Whether a CPU reaches an address without a fault.
    pub fn reaches(&self, cpu: usize, va: u64, access: Access) -> bool {
        self.memory.machine().translate(cpu, va, access).is_ok()
    }

    pub fn audit(&self, regions: &[Arc<Region>]) {
        fake::audit(&self.memory, &self.spaces, regions);
    }

    /// Ends everything and checks that nothing is left.
    pub fn finish(self, regions: &[Arc<Region>]) {
        for region in regions {
            self.memory.destroy_region(region);
        }
        for cpu in 0..self.memory.machine().config().cpus {
            fake::enter(&self.memory, cpu, None);
        }
        for space in &self.spaces {
            self.memory.unmap_all(space, drop);
            self.memory.destroy_space(space);
        }
        fake::audit(&self.memory, &[], &[]);
        let counts = fake::counts(&self.memory);
        let total = self.memory.machine().config().frames;
        assert_eq!((counts.free, counts.available), (total, total));
        // The records of regions are charged as long as the test refers to them.
        let used = self.memory.account().used();
        assert_eq!(used, Resources::bytes(used.bytes), "what is still charged");
    }
}

/// All of a region, anywhere.
pub fn request<'a>(
    region: &'a Arc<Region>,
    permit: &Arc<Permit>,
    access: Rights,
) -> MapRequest<'a> {
    MapRequest::whole(region, permit.clone(), access)
}

/// The address of a page of a mapping.
pub fn page(va: u64, page: u64) -> u64 {
    va + page * 4096
}

pub const LEAF: u64 = LEAF_SIZE;
