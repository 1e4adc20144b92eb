//! A revoke, a reduce or a Move at every moment of a call at which the CPU holds no lock: what is not done when it
//! returns is refused and never done, and nothing is told of what was so after it (I5). It is every call of the one
//! table, by every argument that is a capability.

mod authority;
mod deed;
pub mod entries;
mod hubs;
mod memory;
mod messages;
mod questions;
mod refusals;
mod waiting;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::revoked::{BITS, Scene};
use abi::{ArgumentInfo, Error, Events, SYSCALLS, SyscallInfo};
use deed::{Deed, interrupted_at_every_moment};

const DEEDS: [&[Deed]; 5] = [
    authority::DEEDS,
    hubs::DEEDS,
    memory::DEEDS,
    messages::DEEDS,
    waiting::DEEDS,
];

#[test]
fn what_is_not_done_when_a_revoke_returns_is_refused_and_never_done() {
    let deeds = DEEDS.into_iter().flatten();
    deeds.for_each(interrupted_at_every_moment);
}

#[test]
fn nothing_is_told_by_what_was_revoked_meanwhile() {
    questions::QUESTIONS
        .iter()
        .for_each(interrupted_at_every_moment);
}

#[test]
fn no_refusal_tells_of_what_was_revoked_meanwhile() {
    refusals::REFUSALS
        .iter()
        .for_each(interrupted_at_every_moment);
}

/// Whether an argument names a capability, or leads to what names some.
fn is_capability(argument: &ArgumentInfo) -> bool {
    let carriers = ["Message", "SpawnArgs"].map(|what| format!("UserPtr<{what}>"));
    let ty = argument.ty.replace(' ', "");
    matches!(&ty[..], "Handle" | "Token") || carriers.contains(&ty)
}

/// Arguments by which nothing is done that a revoke might find undone, and why.
const NOTHING_LEFT: &[(&str, &str)] = &[
    ("channel_receive.message", FILLED_IN),
    ("channel_call.answer", FILLED_IN),
    ("channel_serve.request", FILLED_IN),
    (
        "region_copy.source",
        "it is looked at under the lock that a piece is read under, and what was read is written by the other one",
    ),
];

const FILLED_IN: &str =
    "it is filled in with what was received, and names no capability of the caller";

#[test]
fn every_capability_of_every_call_is_taken_away_at_every_moment() {
    let capabilities = |call: &'static SyscallInfo| {
        let named = call.arguments.iter().filter(|it| is_capability(it));
        named.map(|argument| format!("{}.{}", call.name, argument.name))
    };
    let all: BTreeSet<_> = SYSCALLS.iter().flat_map(capabilities).collect();
    let deeds = DEEDS.into_iter().chain([questions::QUESTIONS]).flatten();
    let shown: BTreeSet<_> = deeds
        .flat_map(|deed| deed.shows)
        .chain(NOTHING_LEFT.iter().map(|(argument, _)| argument))
        .map(|shown| shown.to_string())
        .collect();
    assert_eq!(shown, all);
}

#[test]
fn of_entries_none_begins_in_a_slice_after_what_allows_them_was_taken_away() {
    let mut moments = Vec::new();
    for moment in 0.. {
        let served = entries::served_while(moment);
        let Some(before) = served.before else {
            assert_eq!(served.answer, Ok(entries::ALL.into()));
            break;
        };
        entries::check(&served, before);
        moments.push(before);
    }
    // Before it is looked up and before each slice at the latest.
    let slices = BTreeSet::from_iter(moments);
    let wanted = (0..=entries::ALL).step_by(entries::SLICE as usize);
    assert_eq!(slices, wanted.collect());
}

/// Domain 1 waits for a signal. It comes at a moment of that, and later the capability is revoked. The answer, and
/// which of both came to pass.
fn wait_while(signal: u32, revoke: u32) -> (Result<Events, Error>, [bool; 2]) {
    let scene = Scene::new();
    let (inside, turns) = (scene.clone(), Arc::new(AtomicU32::new(0)));
    let count = turns.clone();
    let meanwhile = move || {
        let turn = count.fetch_add(1, Ordering::Relaxed);
        let (ipc, domain) = (&inside.realm.ipc, &inside.realm.domains[0]);
        fake::on_cpu(2, || {
            if turn == signal {
                ipc.signal(domain, inside.tops[BITS], 1).unwrap();
            }
            if turn == revoke {
                inside.realm.revoke(0, inside.tops[BITS]).unwrap();
            }
        });
    };
    let wait = || {
        scene
            .ipc()
            .wait_object(scene.me(), scene.below[BITS], Events::SIGNALED, 100)
    };
    let answer = fake::before_locks(None, meanwhile, || fake::on_cpu(1, wait));
    let turns = turns.load(Ordering::Relaxed);
    scene.finish();
    (answer, [signal, revoke].map(|turn| turn < turns))
}

#[test]
fn an_event_that_comes_while_somebody_goes_to_sleep_is_not_told_by_what_was_revoked_since() {
    let mut told = 0;
    for signal in 0.. {
        let (answer, [signalled, _]) = wait_while(signal, u32::MAX);
        if !signalled {
            assert_eq!(answer, Err(Error::TimedOut));
            break;
        }
        told += u32::from(answer == Ok(Events::SIGNALED));
        for revoke in signal.. {
            let (answer, [_, revoked]) = wait_while(signal, revoke);
            if !revoked {
                break;
            }
            let refused = matches!(answer, Err(Error::Revoked | Error::TimedOut));
            assert!(refused, "{answer:?} at moments {signal} and {revoke}");
        }
    }
    // Before it is looked up, before either look, and before it is in the list.
    assert!(told >= 4, "{told} moments");
}
