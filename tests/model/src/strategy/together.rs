//! Steps that make sense together: random ones alone seldom meet.

use abi::{RegionFlags, Rights};
use proptest::prelude::*;

use super::{create, grant, map, memory, process, register, store};
use crate::{CPUS, Step};

/// Several steps of which each makes something of the one before.
pub(super) fn together() -> impl Strategy<Value = Vec<Step>> {
    let made_and_mapped = (create(), map(), store()).prop_map(|(create, mut map, store)| {
        if let (
            Step::Create {
                process: by,
                handle: made,
                ..
            },
            Step::Map {
                process, handle, ..
            },
        ) = (&create, &mut map)
        {
            (*process, *handle) = (*by, *made);
        }
        let again = store;
        vec![create, map, again]
    });
    let given = (grant(), register(), prop::option::of(map())).prop_map(|(grant, handle, map)| {
        let mut steps = vec![grant];
        if let Step::Grant {
            process: from,
            to,
            token,
            ..
        } = grant
        {
            steps.push(Step::Accept {
                process: to,
                token,
                from,
                handle,
            });
            if let Some(mut map) = map {
                if let Step::Map {
                    process,
                    handle: mapped,
                    ..
                } = &mut map
                {
                    (*process, *mapped) = (to, handle);
                }
                steps.push(map);
            }
        }
        steps
    });
    let reborn = (process(), any::<bool>()).prop_map(|(process, at_once)| {
        let exit = Step::Exit { process };
        if at_once {
            let cpu = process;
            vec![exit, Step::Start { process }, Step::Enter { cpu, process }]
        } else {
            vec![exit]
        }
    });
    let executed = (create(), map(), 0..CPUS).prop_map(|(mut create, mut map, cpu)| {
        if let Step::Create { flags, .. } = &mut create {
            *flags = RegionFlags::EXECUTE;
        }
        if let Step::Map { access, .. } = &mut map {
            *access = Rights::READ | Rights::EXECUTE;
        }
        let (mapping, page) = (0, 0);
        vec![create, map, Step::Fetch { cpu, mapping, page }]
    });
    let kept_in_place =
        (process(), register(), memory().boxed()).prop_map(|(process, handle, step)| {
            let pin = Step::Pin { process, handle };
            vec![pin, step, Step::Unpin { process, handle }]
        });
    prop_oneof![
        8 => made_and_mapped.boxed(),
        2 => kept_in_place.boxed(),
        1 => executed.boxed(),
        10 => given.boxed(),
        1 => reborn.boxed(),
    ]
}
