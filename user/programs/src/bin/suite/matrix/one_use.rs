//! Every call by capabilities for one use: it is made once, and what is refused is no use.
//!
//! What a call needs besides to succeed is listed ([`FITTING`]), as is what a capability becomes that is not used up by a
//! call which succeeds ([`OTHERWISE`]). A call that is in neither and does not succeed as it is fails the case.

use abi::{DeriveFlags, ObjectKind, SYSCALLS, SyscallInfo};
use rt::{Derive, Error, Handle, Rights};

use super::fitting::{AS_IT_IS, Adjust, FITTING, Fit, NO_MORE, event_of};
use super::{capabilities, undo};
use crate::Case;
use crate::arguments::Good;
use crate::calls::{cap_drop, cap_info, process_kill, raw, unmap};
use crate::objects::{kinds, object};

/// What nobody can use once, and why not: it has one holder, and so no right by which anything could be derived.
const NEVER: &[(ObjectKind, Error)] = &[
    (ObjectKind::RingEnd, Error::Denied),
    (ObjectKind::Reply, Error::Denied),
    (ObjectKind::HubMember, Error::Denied),
    (ObjectKind::SubmissionRing, Error::Denied),
];

/// What becomes of a capability for one use, and of the call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The call succeeds, and it is gone.
    UsedUp,
    /// The call succeeds and is about the capability itself, which stays.
    Stays,
    /// The call is refused, and it stays.
    Refused(Error),
}

use Fate::{Refused, Stays, UsedUp};

/// Where it is not used up: the call and the argument.
const OTHERWISE: &[(&str, &str, Fate)] = &[
    ("cap_info", "handle", Stays),
    ("cap_same", "a", Stays),
    ("cap_same", "b", Stays),
    ("cap_reduce", "handle", Stays),
    // It goes, and is for one use there.
    ("grant", "handle", Stays),
    // They make what lasts as long as the capability.
    ("region_pin", "region", Refused(Error::Denied)),
    ("port_bind", "object", Refused(Error::Denied)),
    ("timer_create", "notification", Refused(Error::Denied)),
    ("interrupt_create", "notification", Refused(Error::Denied)),
    ("sub_register", "handle", Refused(Error::Denied)),
    ("region_unpin", "region", Refused(Error::NotFound)),
];

/// One call with an argument that is a capability for one use.
struct Attempt<'a> {
    good: &'a Good<'a>,
    info: &'static SyscallInfo,
    place: usize,
    adjust: Adjust,
    fit: Fit,
    once: Handle,
}

impl<'a> Attempt<'a> {
    fn new(good: &'a Good<'a>, info: &'static SyscallInfo, place: usize, kind: ObjectKind) -> Self {
        let argument = info.arguments[place].name;
        let fitting = FITTING
            .iter()
            .find(|it| (it.0, it.1) == (info.name, argument));
        let (make, adjust) = fitting.map_or((AS_IT_IS, NO_MORE), |it| (it.2, it.3));
        let fit = make(good, kind);
        let once = Derive::new(Rights::all()).one_shot().of(fit.whole);
        let once = done!(once, "{} of a {kind:?} for one use", info.name);
        Attempt {
            good,
            info,
            place,
            adjust,
            fit,
            once,
        }
    }

    fn arguments(&self) -> [u64; 6] {
        let mut arguments = self.good.arguments(self.info, self.place, self.once);
        (self.adjust)(self.good, &self.fit, self.once, &mut arguments);
        arguments
    }

    fn call(&self, arguments: [u64; 6]) -> Result<u64, Error> {
        let answer = raw(self.info.number, arguments);
        match (self.info.name, answer) {
            ("process_spawn", Ok(process)) => {
                done!(process_kill(Handle::from_bits(process)), "killing");
            }
            ("map", Ok(address)) => done!(unmap(address), "unmapping"),
            _ => {}
        }
        undo(self.info, answer);
        answer
    }

    /// What is expected of the call.
    fn fate(&self) -> Fate {
        let (call, argument) = (self.info.name, self.info.arguments[self.place].name);
        let rights = Rights::from_bits_truncate(done!(cap_info(self.once), "cap_info").rights);
        let lacks = |right: &Rights| !rights.contains(*right);
        // Among them is DUPLICATE, which none has.
        let is_denied = match call {
            _ if self.place > 0 => false,
            "grant" => lacks(&(Rights::GRANT | Rights::MOVE)),
            _ => self.info.rights.iter().any(lacks),
        };
        if is_denied {
            return Refused(Error::Denied);
        }
        if call == "object_wait" && self.once.kind().and_then(event_of).is_none() {
            return Refused(Error::Unsupported);
        }
        let listed = OTHERWISE.iter().find(|it| (it.0, it.1) == (call, argument));
        listed.map_or(UsedUp, |it| it.2)
    }

    /// Whether it is there, and for one use.
    fn is_left(&self) -> bool {
        match cap_info(self.once) {
            Ok(info) => info.flags == DeriveFlags::ONE_SHOT.bits(),
            Err(error) => {
                same!(error, Error::BadHandle, "{}: what is left", self.info.name);
                false
            }
        }
    }

    fn end(self) {
        if self.fit.whole.kind() == Some(ObjectKind::Process) {
            // It may have been waiting for that.
            let _ = process_kill(self.fit.whole);
        }
        let _ = cap_drop(self.once);
        let _ = cap_drop(self.fit.whole);
    }
}

/// A value that such an argument can't have, if there is one.
fn bad(good: &Good<'_>, name: &str, ty: &str) -> u64 {
    match (name, ty) {
        ("deadline", _) => 0,
        (_, "Handle" | "Token") => good.dead.bits(),
        (_, pointer) if pointer.starts_with("UserPtr") => abi::limits::USER_END,
        _ => u64::MAX,
    }
}

/// Makes a call with each of its arguments wrong in turn, and then as it should be.
fn once_and_no_more(good: &Good<'_>, info: &'static SyscallInfo, place: usize, kind: ObjectKind) {
    let call = info.name;
    let mut attempt = Attempt::new(good, info, place, kind);
    for (at, argument) in info.arguments.iter().enumerate() {
        if at == place {
            continue;
        }
        let mut arguments = attempt.arguments();
        arguments[at] = bad(good, argument.name, argument.ty);
        let fate = attempt.fate();
        let answer = attempt.call(arguments);
        let is_used = answer.is_ok() && fate == UsedUp;
        same!(
            attempt.is_left(),
            !is_used,
            "{call} of a {kind:?}, whose {} is wrong: {answer:?}",
            argument.name
        );
        if is_used {
            attempt.end();
            attempt = Attempt::new(good, info, place, kind);
        }
    }
    let fate = attempt.fate();
    let arguments = attempt.arguments();
    let answer = attempt.call(arguments);
    match fate {
        Refused(error) => refused!(answer, error, "{call} of a {kind:?} at {place}"),
        UsedUp | Stays => {
            done!(answer, "{call} of a {kind:?} at {place}");
        }
    }
    same!(
        attempt.is_left(),
        fate != UsedUp,
        "{call} of a {kind:?} at {place}: whether it is left"
    );
    if fate == UsedUp {
        let again = attempt.call(arguments);
        refused!(again, Error::BadHandle, "{call} of a {kind:?} once more");
    }
    attempt.end();
}

/// Whether there are capabilities of a kind for one use.
fn is_for_one_use(kind: ObjectKind) -> bool {
    NEVER.iter().all(|(never, _)| *never != kind)
}

pub fn one_use(case: &Case) {
    let good = Good::new(case);
    for (info, place, wanted) in capabilities() {
        for kind in wanted.kinds().filter(|&kind| is_for_one_use(kind)) {
            once_and_no_more(&good, info, place, kind);
        }
    }
    for (call, argument) in OTHERWISE
        .iter()
        .map(|it| (it.0, it.1))
        .chain(FITTING.iter().map(|it| (it.0, it.1)))
    {
        let named = |info: &SyscallInfo| {
            info.name == call && info.arguments.iter().any(|it| it.name == argument)
        };
        check!(
            SYSCALLS.iter().any(named),
            "there is no {call} of `{argument}`"
        );
    }
}

pub fn never_one_use(case: &Case) {
    for kind in kinds() {
        let whole = object(case, kind);
        let once = Derive::new(Rights::all()).one_shot().of(whole);
        match NEVER.iter().find(|(never, _)| *never == kind) {
            Some((_, error)) => refused!(once, *error, "a {kind:?} for one use"),
            None => {
                let once = done!(once, "a {kind:?} for one use");
                let info = done!(cap_info(once), "cap_info");
                same!(info.flags, DeriveFlags::ONE_SHOT.bits(), "a {kind:?}");
                refused!(rt::derive(once, Rights::all()), Error::Denied, "below it");
            }
        }
    }
}
