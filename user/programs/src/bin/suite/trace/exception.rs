//! What a trace tells of exceptions.

use alloc::vec::Vec;

use abi::trace::EventKind;

use super::{events, give_back, traced};
use crate::Case;
use crate::check::wait;

pub fn exception(case: &Case) {
    // Page faults are told of as such.
    let roles = [
        "division",
        "trap_flag",
        "invalid_instruction",
        "int_14",
        "null_read",
    ];
    let mut ends = Vec::new();
    let (region, trace) = traced(case, 2048, || {
        ends.extend(roles.map(|role| {
            let child = case.child(role).cpus(1 << 0);
            wait(&done!(child.start(), "a child"))
        }));
    });
    let told: Vec<_> = events(&trace, 0)
        .into_iter()
        .filter(|event| event.kind == EventKind::Exception as u8)
        .map(|event| {
            (
                u32::from(event.number),
                event.arguments[0],
                event.arguments[1],
            )
        })
        .collect();
    let ended = ends[..roles.len() - 1].iter();
    let wanted: Vec<_> = ended
        .map(|end| (end.vector, end.instruction, u64::from(end.error_code)))
        .collect();
    same!(told[..], wanted[..], "exceptions");
    give_back(region, trace);
}
