//! Random operations of several processes on several CPUs, compared with a model that knows
//! nothing of page tables: bytes of regions, and rights of mappings.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use abi::{Error, Rights};
use common::steps::{CPUS, SPACES, Step, step};
use common::{READ, WRITE, World, page};
use fake::{Access, Config};
use mm::{Permit, Region, RegionOptions};
use proptest::prelude::*;

struct ModelRegion {
    region: Arc<Region>,
    permit: Arc<Permit>,
    pages: u64,
    bytes: HashMap<u64, u64>,
    sealed: bool,
}

#[derive(Clone, Copy)]
struct ModelMapping {
    space: usize,
    /// The number of its region in `regions`, which never changes.
    region: usize,
    va: u64,
    writable: bool,
    /// What it shows was taken away; only its address is still taken.
    dead: bool,
}

struct Model {
    world: World,
    regions: Vec<Option<ModelRegion>>,
    mappings: Vec<ModelMapping>,
    loaded: [Option<usize>; CPUS],
}

impl Model {
    fn new(seed: u64) -> Model {
        let config = Config {
            frames: 1100,
            cpus: CPUS,
            seed,
            ..Config::default()
        };
        let world = World::of(SPACES, config);
        Model {
            world,
            regions: Vec::new(),
            mappings: Vec::new(),
            loaded: [Some(0), Some(1), Some(2), None],
        }
    }

    /// The live region that a random number stands for.
    fn pick(&self, number: usize) -> Option<usize> {
        let live: Vec<usize> = (0..self.regions.len())
            .filter(|at| self.regions[*at].is_some())
            .collect();
        (!live.is_empty()).then(|| live[number % live.len()])
    }

    fn pick_mapping(&self, number: usize) -> Option<usize> {
        (!self.mappings.is_empty()).then(|| number % self.mappings.len())
    }

    /// What an access to a page of a mapping has to give.
    fn expect(&self, mapping: ModelMapping, at: u64, write: bool) -> Result<u64, Error> {
        let Some(region) = self.regions[mapping.region]
            .as_ref()
            .filter(|_| !mapping.dead)
        else {
            return Err(Error::Revoked);
        };
        if write && !mapping.writable {
            return Err(Error::Denied);
        }
        if at >= region.pages {
            return Err(Error::Range);
        }
        Ok(region.bytes.get(&at).copied().unwrap_or(0))
    }

    fn kill_mappings(&mut self, region: usize) {
        for mapping in self.mappings.iter_mut().filter(|m| m.region == region) {
            mapping.dead = true;
        }
    }

    fn apply(&mut self, step: Step) {
        let memory = self.world.memory.clone();
        match step {
            Step::Create { pages, commit } => {
                let fits = memory.machine().pool().available() >= pages + pages.div_ceil(512);
                match memory.create_region(
                    pages * 4096,
                    RegionOptions {
                        node: None,
                        commit,
                        ..RegionOptions::default()
                    },
                ) {
                    Ok(region) => {
                        assert!(fits);
                        let (permit, bytes) = (Arc::new(Permit::new()), HashMap::new());
                        self.regions.push(Some(ModelRegion {
                            region,
                            permit,
                            pages,
                            bytes,
                            sealed: false,
                        }));
                    }
                    Err(error) => assert_eq!((error, fits), (Error::NoMemory, false)),
                }
            }
            Step::Map {
                space,
                region,
                writable,
            } => {
                let Some(number) = self.pick(region) else {
                    return;
                };
                let Some(region) = &self.regions[number] else {
                    return;
                };
                let request = common::request(&region.region, &region.permit, rights(writable));
                match self.world.try_map(space, &request) {
                    Ok(va) => {
                        assert!(!(writable && region.sealed));
                        // The address was taken from a mapping that is dead, if from any.
                        let end = va + region.pages.div_ceil(512) * common::LEAF;
                        self.mappings.retain(|m| {
                            let taken = m.space == space && (va..end).contains(&m.va);
                            assert!(!taken || m.dead);
                            !m.dead || m.space != space
                        });
                        self.mappings.push(ModelMapping {
                            space,
                            region: number,
                            va,
                            writable,
                            dead: false,
                        });
                    }
                    Err(Error::Sealed) => {
                        assert!(writable && region.sealed);
                        self.mappings.retain(|m| !m.dead || m.space != space);
                    }
                    Err(error) => {
                        assert_eq!(error, Error::NoMemory);
                        assert!(memory.machine().pool().available() < 2);
                        self.mappings.retain(|m| !m.dead || m.space != space);
                    }
                }
            }
            Step::Unmap { mapping } => {
                let Some(at) = self.pick_mapping(mapping) else {
                    return;
                };
                let mapping = self.mappings.swap_remove(at);
                memory
                    .unmap(&self.world.spaces[mapping.space], mapping.va)
                    .unwrap();
                for cpu in (0..CPUS).filter(|cpu| self.loaded[*cpu] == Some(mapping.space)) {
                    assert!(!self.world.reaches(cpu, mapping.va, Access::Read));
                }
            }
            Step::Protect { mapping, writable } => {
                let Some(at) = self.pick_mapping(mapping) else {
                    return;
                };
                let mapping = self.mappings[at];
                let space = &self.world.spaces[mapping.space];
                let result = memory.protect(space, mapping.va, rights(writable));
                let sealed = self.regions[mapping.region]
                    .as_ref()
                    .is_some_and(|r| r.sealed);
                let expected = match (mapping.dead, sealed && writable) {
                    (true, _) => Err(Error::Revoked),
                    (false, true) => Err(Error::Sealed),
                    (false, false) => Ok(()),
                };
                assert_eq!(result, expected);
                if result.is_ok() {
                    self.mappings[at].writable = writable;
                }
            }
            Step::Seal { region } => {
                let Some(number) = self.pick(region) else {
                    return;
                };
                if let Some(region) = &mut self.regions[number] {
                    memory.seal(&region.region).unwrap();
                    region.sealed = true;
                }
                for mapping in self.mappings.iter_mut().filter(|m| m.region == number) {
                    mapping.writable = false;
                }
            }
            Step::Destroy { region } => {
                let Some(number) = self.pick(region) else {
                    return;
                };
                if let Some(region) = self.regions[number].take() {
                    memory.destroy_region(&region.region);
                }
                self.kill_mappings(number);
            }
            Step::Detach { region } => {
                let Some(number) = self.pick(region) else {
                    return;
                };
                let live = self
                    .mappings
                    .iter()
                    .filter(|m| m.region == number && !m.dead)
                    .count();
                if let Some(region) = &self.regions[number] {
                    region.permit.set_live(false);
                    assert_eq!(memory.detach(&region.region, |_| true), live);
                    assert_eq!(region.permit.mappings(), 0);
                    region.permit.set_live(true);
                }
                self.kill_mappings(number);
            }
            Step::Enter { cpu, space } => {
                fake::enter(&memory, cpu, space.map(|space| &self.world.spaces[space]));
                self.loaded[cpu] = space;
            }
            Step::Load {
                cpu,
                mapping,
                page: at,
            } => {
                let Some(mapping) = self.pick_mapping(mapping).map(|at| self.mappings[at]) else {
                    return;
                };
                if self.loaded[cpu] == Some(mapping.space) && at < 512 {
                    let loaded = self.world.load(cpu, mapping.space, page(mapping.va, at));
                    assert_eq!(loaded, self.expect(mapping, at, false));
                }
            }
            Step::Store {
                cpu,
                mapping,
                page: at,
                value,
            } => {
                let Some(mapping) = self.pick_mapping(mapping).map(|at| self.mappings[at]) else {
                    return;
                };
                if self.loaded[cpu] == Some(mapping.space) && at < 512 {
                    let stored = self
                        .world
                        .store(cpu, mapping.space, page(mapping.va, at), value);
                    assert_eq!(stored, self.expect(mapping, at, true).map(drop));
                    if stored.is_ok()
                        && let Some(region) = &mut self.regions[mapping.region]
                    {
                        region.bytes.insert(at, value);
                    }
                }
            }
            Step::KernelStore {
                region,
                page: at,
                value,
            } => {
                let Some(number) = self.pick(region) else {
                    return;
                };
                let Some(region) = &mut self.regions[number] else {
                    return;
                };
                let expected = match (at < region.pages, region.sealed) {
                    (false, _) => Err(Error::Range),
                    (true, true) => Err(Error::Sealed),
                    (true, false) => Ok(()),
                };
                let bytes = value.to_le_bytes();
                assert_eq!(
                    memory.write_region(&region.region, at * 4096, &bytes),
                    expected
                );
                if expected.is_ok() {
                    region.bytes.insert(at, value);
                }
            }
        }
    }

    fn regions(&self) -> Vec<Arc<Region>> {
        self.regions
            .iter()
            .flatten()
            .map(|region| region.region.clone())
            .collect()
    }

    /// What the kernel reads of every region is what the model says.
    fn compare_bytes(&self) {
        for region in self.regions.iter().flatten() {
            for (at, value) in &region.bytes {
                let mut bytes = [0; 8];
                let read = self
                    .world
                    .memory
                    .read_region(&region.region, at * 4096, &mut bytes);
                assert_eq!(read.map(|()| u64::from_le_bytes(bytes)), Ok(*value));
            }
        }
    }
}

fn rights(writable: bool) -> Rights {
    if writable { WRITE } else { READ }
}

proptest! {
    #![proptest_config(common::cases(64))]

    #[test]
    fn memory_behaves_as_bytes_and_rights_say(
        seed: u64,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut model = Model::new(seed);
        for step in steps {
            model.apply(step);
            model.world.audit(&model.regions());
        }
        model.compare_bytes();
        let regions = model.regions();
        model.world.finish(&regions);
    }
}
