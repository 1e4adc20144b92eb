//! Every call of the one table, with capabilities that must not do.
//!
//! Nothing here lists calls: what a call works on follows from the names and types of its arguments,
//! and a call from which it does not follow fails the case.

mod fitting;
mod one_use;

use abi::{ArgumentInfo, HandleTransfer, Message, ObjectKind, SYSCALLS, SyscallInfo};
use rt::{Error, GrantFlags, Handle, Mode, Rights, Token};

use crate::Case;
use crate::arguments::{Good, Wanted, points_to, wanted};
use crate::calls::{
    READ_WRITE, cancel, cap_derive, cap_drop, cap_info, cap_revoke, grant, raw, small_ring,
};
use crate::objects::{channel, kinds, object, weakened};

pub use fitting::child;
pub use one_use::{never_one_use, one_use};

/// The capabilities among the arguments of every call: the call, where, and of what.
fn capabilities() -> impl Iterator<Item = (&'static SyscallInfo, usize, Wanted)> {
    SYSCALLS.iter().flat_map(|info| {
        let arguments = info.arguments.iter().enumerate();
        arguments.filter_map(move |(at, argument)| Some((info, at, wanted(info, argument)?)))
    })
}

/// What calls need beyond the rights of their first argument, as their sentences say: the call, the
/// right, the argument that needs it, its kind, and changes to the others.
type Further = (
    &'static str,
    Rights,
    usize,
    ObjectKind,
    &'static [(usize, u64)],
);

const MOVE: (usize, u64) = (2, Mode::Move as u64);
const COPY: (usize, u64) = (2, Mode::CopyOnWrite as u64);
const REVOKE_OTHERS: (usize, u64) = (4, GrantFlags::REVOKE_OTHERS.bits() as u64);

const FURTHER: &[Further] = &[
    ("map", Rights::READ, 0, ObjectKind::Region, &[]),
    (
        "map",
        Rights::WRITE,
        0,
        ObjectKind::Region,
        &[(4, READ_WRITE.bits() as u64)],
    ),
    ("map", Rights::EXECUTE, 0, ObjectKind::Region, &[(4, 0b101)]),
    ("region_copy", Rights::READ, 2, ObjectKind::Region, &[]),
    ("grant", Rights::DUPLICATE, 0, ObjectKind::Region, &[]),
    ("grant", Rights::MOVE, 0, ObjectKind::Region, &[MOVE]),
    ("grant", Rights::READ, 0, ObjectKind::Region, &[COPY]),
    ("grant", Rights::DUPLICATE, 0, ObjectKind::Region, &[COPY]),
    (
        "grant",
        Rights::REVOKE,
        0,
        ObjectKind::Region,
        &[MOVE, REVOKE_OTHERS],
    ),
    ("ring_turn", Rights::WAIT, 1, ObjectKind::RingEnd, &[]),
    ("port_bind", Rights::WAIT, 1, ObjectKind::Notification, &[]),
    (
        "port_bind",
        Rights::MANAGE,
        1,
        ObjectKind::Process,
        &[(2, abi::Events::FAULTED.bits() as u64)],
    ),
    (
        "interrupt_create",
        Rights::SIGNAL,
        1,
        ObjectKind::Notification,
        &[],
    ),
];

/// The rights that the sentences of a call say it needs.
fn told(info: &SyscallInfo) -> impl Iterator<Item = Rights> {
    let sentences = info
        .doc
        .split(". ")
        .flat_map(|sentence| sentence.split(';'));
    let needs = sentences.filter(|sentence| sentence.contains("eeds "));
    let words =
        needs.flat_map(|sentence| sentence.split(|letter: char| !letter.is_ascii_uppercase()));
    words.filter_map(Rights::from_name)
}

pub fn missing_rights(case: &Case) {
    let good = Good::new(case);
    for info in SYSCALLS {
        for right in told(info) {
            let listed = |further: &Further| further.0 == info.name && further.1 == right;
            check!(
                info.rights.contains(&right) || FURTHER.iter().any(listed),
                "{} says that it needs {right:?}, and nobody tries it without",
                info.name
            );
        }
        let wanted = info.arguments.first().and_then(|first| wanted(info, first));
        check!(
            wanted.is_some() || info.rights.is_empty(),
            "nobody knows what {} works on",
            info.name
        );
        for &missing in info.rights {
            for kind in wanted.into_iter().flat_map(Wanted::kinds) {
                denied(&good, (info.name, missing, 0, kind, &[]));
            }
        }
    }
    for &further in FURTHER {
        denied(&good, further);
    }
}

/// No call needs a right that the table does not tell.
pub fn no_further_rights(case: &Case) {
    let good = Good::new(case);
    for info in SYSCALLS {
        let wanted = info.arguments.first().and_then(|first| wanted(info, first));
        let further = FURTHER.iter().filter(|further| further.0 == info.name);
        let told: Rights = info
            .rights
            .iter()
            .copied()
            .chain(further.map(|further| further.1))
            .collect();
        for kind in wanted.into_iter().flat_map(Wanted::kinds) {
            let answer = |handle: Handle| {
                let answer = raw(info.number, good.arguments(info, 0, handle));
                undo(info, answer);
                let _ = cap_drop(handle);
                answer
            };
            // What the call is refused for with every right tells nothing.
            if answer(object(case, kind)) == Err(Error::Denied) {
                continue;
            }
            for missing in (!told).iter() {
                let weak = weakened(case, kind, missing);
                check!(
                    answer(weak) != Err(Error::Denied),
                    "{} of a {kind:?} without {missing:?} is Denied, and the table does not say so",
                    info.name
                );
            }
        }
    }
}

/// Drops what a call has made, or takes back what it offered.
fn undo(info: &SyscallInfo, answer: Result<u64, Error>) {
    match (answer, info.result) {
        (Ok(token), "Token") => done!(cancel(Token::from_bits(token)), "taking back"),
        (Ok(handle), "Handle") => done!(cap_drop(Handle::from_bits(handle)), "dropping"),
        _ => {}
    }
}

/// Without the right a call is `Denied`, and with it, it is not.
fn denied(good: &Good<'_>, (call, missing, place, kind, changes): Further) {
    let info = SYSCALLS.iter().find(|info| info.name == call);
    let info = done!(info.ok_or(Error::NotFound), "no call {call}");
    let answer = |handle: Handle| {
        let mut arguments = good.arguments(info, place, handle);
        for &(at, value) in changes {
            arguments[at] = value;
        }
        let answer = raw(info.number, arguments);
        let _ = cap_drop(handle);
        answer
    };
    refused!(
        answer(weakened(good.case, kind, missing)),
        Error::Denied,
        "{call} of a {kind:?} without {missing:?}"
    );
    let whole = object(good.case, kind);
    let rights = done!(cap_info(whole), "cap_info").rights;
    if rights & missing.bits() == 0 {
        done!(cap_drop(whole), "dropping");
        return;
    }
    check!(
        answer(whole) != Err(Error::Denied),
        "{call} of a {kind:?} is Denied with every right"
    );
}

/// What carries capabilities, and refuses one without a right that its mode needs.
pub fn missing_rights_in_messages(case: &Case) {
    let good = Good::new(case);
    let carriers = SYSCALLS.iter().filter(|info| {
        let first = |argument: &&ArgumentInfo| points_to(argument, "Message");
        info.arguments.iter().find(first).is_some() && info.errors.contains(&Error::Shared)
    });
    for info in carriers {
        for (mode, missing) in [
            (Mode::Share, Rights::GRANT),
            (Mode::Share, Rights::DUPLICATE),
            (Mode::Move, Rights::GRANT),
            (Mode::Move, Rights::MOVE),
            (Mode::CopyOnWrite, Rights::GRANT),
            (Mode::CopyOnWrite, Rights::READ),
            (Mode::CopyOnWrite, Rights::DUPLICATE),
        ] {
            let carried = weakened(case, ObjectKind::Region, missing);
            let open = || done!(channel(), "a channel");
            let (end, _) = match wanted(info, &info.arguments[0]) {
                Some(Wanted::One(ObjectKind::Reply)) => {
                    (object(case, ObjectKind::Reply), Handle::NONE)
                }
                _ => open(),
            };
            let arguments = good.arguments(info, 0, end);
            let transfer = good.write(5, HandleTransfer::new(carried, mode, Rights::all()));
            let message = Message {
                handles: transfer,
                handles_len: 1,
                ..Message::default()
            };
            let place = info
                .arguments
                .iter()
                .position(|argument| points_to(argument, "Message"));
            let place = done!(place.ok_or(Error::NotFound), "a message");
            good.write(place, message);
            let answer = raw(info.number, arguments);
            refused!(
                answer,
                Error::Denied,
                "{mode:?} by {} without {missing:?}",
                info.name
            );
            done!(cap_info(carried), "what was not sent is still here");
        }
    }
}

pub fn wrong_kind(case: &Case) {
    let good = Good::new(case);
    for (info, place, wanted) in capabilities() {
        for kind in kinds().filter(|&kind| !wanted.takes(kind)) {
            let arguments = good.arguments(info, place, good.object(kind));
            let answer = raw(info.number, arguments);
            refused!(answer, Error::WrongKind, "{} of a {kind:?}", info.name);
        }
    }
}

/// Ends what a capability is good for; where that can be taken back, by which token.
type End = fn(Handle) -> Option<(Handle, Option<Token>)>;

/// What has become of a capability, and how.
const FATES: &[(Error, End)] = &[
    (Error::BadHandle, |handle| {
        done!(cap_drop(handle), "dropping");
        Some((handle, None))
    }),
    (Error::Revoked, |handle| {
        let child = cap_derive(handle, Rights::all()).ok()?;
        cap_revoke(handle).ok()?;
        done!(cap_drop(handle), "dropping");
        Some((child, None))
    }),
    (Error::InTransit, |handle| {
        let (via, back) = small_ring();
        let all = Rights::all();
        let token = grant(handle, via, Mode::Move, all, GrantFlags::empty()).ok()?;
        let dropped = cap_drop(via).and(cap_drop(back));
        done!(dropped, "dropping a ring");
        Some((handle, Some(token)))
    }),
];

pub fn dead_handles(case: &Case) {
    let good = Good::new(case);
    for (info, place, wanted) in capabilities() {
        for (error, end) in FATES {
            for kind in wanted.kinds().filter(|_| info.errors.contains(error)) {
                let Some((dead, token)) = end(object(case, kind)) else {
                    continue;
                };
                let arguments = good.arguments(info, place, dead);
                let answer = raw(info.number, arguments);
                refused!(answer, *error, "{} of a {kind:?} at {place}", info.name);
                if let Some(token) = token {
                    done!(cancel(token), "taking back");
                }
                let _ = cap_drop(dead);
            }
        }
    }
}
