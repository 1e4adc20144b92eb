//! The random operations of the model test.

use proptest::prelude::*;

pub const SPACES: usize = 3;
pub const CPUS: usize = 4;

/// What one CPU does. Numbers of regions and mappings are taken modulo those that there are.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Create {
        pages: u64,
        commit: bool,
    },
    Map {
        space: usize,
        region: usize,
        writable: bool,
    },
    Unmap {
        mapping: usize,
    },
    Protect {
        mapping: usize,
        writable: bool,
    },
    Seal {
        region: usize,
    },
    Destroy {
        region: usize,
    },
    /// Takes away what was mapped under the permit of a region, and allows it anew.
    Detach {
        region: usize,
    },
    Enter {
        cpu: usize,
        space: Option<usize>,
    },
    Load {
        cpu: usize,
        mapping: usize,
        page: u64,
    },
    Store {
        cpu: usize,
        mapping: usize,
        page: u64,
        value: u64,
    },
    KernelStore {
        region: usize,
        page: u64,
        value: u64,
    },
}

pub fn step() -> impl Strategy<Value = Step> {
    let which = 0..64usize;
    let pages = prop_oneof![Just(1u64), 2..40u64, Just(512), Just(513)];
    let at = prop_oneof![0..4u64, 0..520u64];
    prop_oneof![
        2 => (pages, prop::bool::weighted(0.1))
            .prop_map(|(pages, commit)| Step::Create { pages, commit }),
        4 => (0..SPACES, which.clone(), any::<bool>())
            .prop_map(|(space, region, writable)| Step::Map { space, region, writable }),
        2 => which.clone().prop_map(|mapping| Step::Unmap { mapping }),
        2 => (which.clone(), any::<bool>())
            .prop_map(|(mapping, writable)| Step::Protect { mapping, writable }),
        1 => which.clone().prop_map(|region| Step::Seal { region }),
        1 => which.clone().prop_map(|region| Step::Destroy { region }),
        1 => which.clone().prop_map(|region| Step::Detach { region }),
        3 => (0..CPUS, prop::option::weighted(0.9, 0..SPACES))
            .prop_map(|(cpu, space)| Step::Enter { cpu, space }),
        6 => (0..CPUS, which.clone(), at.clone())
            .prop_map(|(cpu, mapping, page)| Step::Load { cpu, mapping, page }),
        6 => (0..CPUS, which.clone(), at.clone(), any::<u64>())
            .prop_map(|(cpu, mapping, page, value)| Step::Store { cpu, mapping, page, value }),
        2 => (which, at, any::<u64>())
            .prop_map(|(region, page, value)| Step::KernelStore { region, page, value }),
    ]
}
