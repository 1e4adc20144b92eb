//! Everything that can be told of a machine, to be compared before and after (I9).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use abi::{CapInfo, Error, RegionInfo, Resources, Rights};
use mm::{Frame, FrameState, Frames};

use crate::{PROCESSES, Run};

/// What is known of one handle.
type Known = Result<(CapInfo, Result<RegionInfo, Error>), Error>;

/// Everything but what may stay: upper tables belong to a space and are returned with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Frames in each state that is neither free nor a table of a space, and the free ones along
    /// with those tables.
    frames: BTreeMap<&'static str, u64>,
    /// Frames promised to nobody, tables of spaces included. Not sure while a region overcommits:
    /// what its kin is promised is settled when it ends.
    available: Option<u64>,
    /// Objects, and handles and mappings of each process.
    objects: u64,
    handles: Vec<usize>,
    /// What is charged to each, but for the tables of its space. Not sure while a mapping is left of
    /// what was taken away: its space may find time for it in any call.
    charged: Option<Vec<Resources>>,
    /// What each handle register stands for.
    known: Vec<Known>,
    /// The state, owners and bytes of every frame that a region has.
    memory: u64,
}

impl Run {
    /// What can be told of the machine now.
    pub fn digest(&self) -> Digest {
        let machine = self.subject.machine();
        let upper_tables = self.upper_tables();
        let mut frames = BTreeMap::from([("free", upper_tables), ("table", 0), ("page", 0)]);
        let mut memory = DefaultHasher::new();
        for number in 1..=machine.config().frames + 1 {
            let frame = Frame::from_number(number);
            let meta = machine.meta(frame);
            let kind = match meta.state() {
                FrameState::Free => "free",
                FrameState::Table => "table",
                FrameState::Region => "page",
                FrameState::Reserved | FrameState::Kernel => "other",
            };
            *frames.entry(kind).or_default() += 1;
            let of_region = meta.owners() > 0;
            if of_region {
                (number, meta.state() as u32, meta.owners()).hash(&mut memory);
                for word in 0..512 {
                    machine.word(frame, word).hash(&mut memory);
                }
            }
        }
        *frames.entry("table").or_default() -= upper_tables;
        let mut known = Vec::new();
        for process in 0..PROCESSES {
            for register in &self.subject.handles[process] {
                let Some(handle) = register.filter(|_| !self.subject.ended[process]) else {
                    continue;
                };
                let (ipc, domain) = (&self.subject.ipc, &self.subject.domains[process]);
                known.push(ipc.capability_info(domain, handle).map(|info| {
                    let inspect = Rights::from_bits_truncate(info.rights);
                    let region = inspect.contains(Rights::INSPECT);
                    let facts = if region {
                        ipc.region_info(domain, handle)
                    } else {
                        Err(Error::Denied)
                    };
                    self.subject.settle(false);
                    (info, facts)
                }));
            }
        }
        let sure = self.spec.available(upper_tables);
        let certain = sure.end - sure.start == 1;
        Digest {
            frames,
            available: certain.then(|| machine.pool().available() + upper_tables),
            objects: self.subject.ipc.object_count(),
            handles: self
                .subject
                .domains
                .iter()
                .map(|d| d.handle_count())
                .collect(),
            charged: (!self.spec.mappings.iter().any(|mapping| mapping.dead))
                .then(|| self.charged()),
            known,
            memory: memory.finish(),
        }
    }

    /// What is charged to each process that runs, but for the tables of its space.
    fn charged(&self) -> Vec<Resources> {
        let running = (0..PROCESSES).filter(|place| !self.subject.ended[*place]);
        let charged = running.map(|place| {
            let used = self.subject.domains[place].account().used();
            Resources {
                tables: used.tables - self.upper(place).tables.len() as u64,
                ..used
            }
        });
        charged.collect()
    }
}
