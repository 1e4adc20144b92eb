//! Every call of the one table, with capabilities that must not do.
//!
//! Nothing here lists calls: what a call works on follows from the names and types of its arguments,
//! and a call from which it does not follow fails the case.

use alloc::vec::Vec;
use core::cell::RefCell;

use abi::{
    ArgumentInfo, DeriveArgs, HandleTransfer, Message, ObjectKind, SYSCALLS, SpawnArgs, SyscallInfo,
};
use rt::{CachePolicy, Error, GrantFlags, Handle, Mode, Resources, Rights, Token};

use crate::Case;
use crate::calls::{
    READ_WRITE, cancel, cap_derive, cap_drop, cap_info, cap_revoke, grant, map_all, raw, region,
    small_ring,
};
use crate::objects::{kinds, object, open_end, weakened};

/// What an argument has to be a capability of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Of this kind.
    One(ObjectKind),
    /// Whatever leads to another process.
    Way,
    /// Anything.
    Any,
}

impl Wanted {
    /// Every kind that does.
    fn kinds(self) -> impl Iterator<Item = ObjectKind> {
        kinds().filter(move |&kind| self.takes(kind))
    }

    fn takes(self, kind: ObjectKind) -> bool {
        match self {
            Wanted::One(wanted) => wanted == kind,
            Wanted::Way => matches!(
                kind,
                ObjectKind::RingEnd | ObjectKind::ChannelEnd | ObjectKind::Process
            ),
            Wanted::Any => true,
        }
    }
}

/// Whether an argument is a pointer to such a structure.
fn points_to(argument: &ArgumentInfo, structure: &str) -> bool {
    let target = argument.ty.strip_prefix("UserPtr").unwrap_or_default();
    target.trim_matches(|letter| " <>".contains(letter)) == structure
}

/// What an argument of a call has to be a capability of, if it is one.
fn wanted(info: &SyscallInfo, argument: &ArgumentInfo) -> Option<Wanted> {
    if points_to(argument, "SpawnArgs") {
        return Some(Wanted::One(ObjectKind::Image));
    }
    if argument.ty != "Handle" {
        return None;
    }
    let kind = match (argument.name, info.name.split('_').next()) {
        ("region", _) => ObjectKind::Region,
        ("end", Some("ring")) => ObjectKind::RingEnd,
        ("end", Some("channel")) => ObjectKind::ChannelEnd,
        ("process", _) => ObjectKind::Process,
        ("resource", _) => ObjectKind::Resource,
        ("notification", _) => ObjectKind::Notification,
        ("port", _) => ObjectKind::Port,
        ("reply", _) => ObjectKind::Reply,
        ("timer", _) => ObjectKind::Timer,
        ("thread", _) => ObjectKind::Thread,
        ("via", _) => return Some(Wanted::Way),
        ("handle" | "object" | "a" | "b", _) => return Some(Wanted::Any),
        _ => {
            check!(
                false,
                "nobody knows what `{}` of {} is",
                argument.name,
                info.name
            );
            return None;
        }
    };
    Some(Wanted::One(kind))
}

/// Arguments with which calls may succeed, and never sleep long.
struct Good<'a> {
    case: &'a Case,
    /// A page for what arguments point to.
    page: u64,
    /// Objects that serve as arguments again and again.
    objects: RefCell<Vec<(ObjectKind, Handle)>>,
    /// What leads to this process itself.
    way: Handle,
}

impl<'a> Good<'a> {
    fn new(case: &'a Case) -> Good<'a> {
        Good {
            case,
            page: map_all(region(4096), READ_WRITE),
            objects: RefCell::default(),
            way: small_ring().0,
        }
    }

    /// An object of a kind, the same each time.
    fn object(&self, kind: ObjectKind) -> Option<Handle> {
        let mut objects = self.objects.borrow_mut();
        if let Some((_, handle)) = objects.iter().find(|(made, _)| *made == kind) {
            return Some(*handle);
        }
        let handle = object(self.case, kind)?;
        objects.push((kind, handle));
        Some(handle)
    }

    /// Arguments with which a call can succeed but for the capability at `place`. `None` as long as
    /// one of them can't be made.
    fn arguments(&self, info: &SyscallInfo, place: usize, handle: Handle) -> Option<[u64; 6]> {
        let mut values = [0; 6];
        for (at, argument) in info.arguments.iter().enumerate() {
            values[at] = match wanted(info, argument) {
                Some(_) if argument.ty != "Handle" => self.spawn_args(at, place, handle),
                Some(_) if at == place => handle.bits(),
                Some(Wanted::One(kind)) => self.object(kind)?.bits(),
                Some(Wanted::Way) => self.way.bits(),
                Some(Wanted::Any) => self.object(ObjectKind::Notification)?.bits(),
                None => self.value(at, argument, handle.kind()),
            };
        }
        Some(values)
    }

    /// A value for an argument that is no capability, with one of this kind.
    fn value(&self, at: usize, argument: &ArgumentInfo, kind: Option<ObjectKind>) -> u64 {
        match (argument.name, argument.ty) {
            _ if points_to(argument, "DeriveArgs") => self.write(
                at,
                DeriveArgs {
                    rights: Rights::INSPECT.bits(),
                    flags: 0,
                    offset: 0,
                    len: 0,
                    badge: 0,
                    deadline: rt::FOREVER,
                    max_nodes: 0,
                    reserved: 0,
                },
            ),
            (_, pointer) if pointer.starts_with("UserPtr") => self.write(at, [0u64; 60]),
            ("deadline", _) => rt::now_ns() + 1_000_000,
            (_, "Rights") => Rights::READ.bits().into(),
            (_, "Mode") => match kind {
                // They are never shared.
                Some(ObjectKind::RingEnd | ObjectKind::Reply) => Mode::Move as u64,
                _ => Mode::Share as u64,
            },
            (_, "CachePolicy") => CachePolicy::Uncached as u64,
            (_, "Events") => abi::Events::SIGNALED.bits().into(),
            ("bits" | "priority" | "seen" | "capacity" | "len", _) => 1,
            ("slots", _) => 64,
            _ => 0,
        }
    }

    /// Arguments of a spawn that is refused at the latest for a handle that it lists.
    fn spawn_args(&self, at: usize, place: usize, handle: Handle) -> u64 {
        let image = if at == place { handle } else { self.case.image };
        let listed = self.write(
            5,
            HandleTransfer::new(Handle::NONE, Mode::Share, Rights::all()),
        );
        self.write(
            at,
            SpawnArgs {
                image,
                name: 0,
                name_len: 0,
                args: 0,
                args_len: 0,
                handles: listed,
                handles_len: 1,
                cpus: 0,
                quota: Resources::NONE,
                priority: 0,
                flags: 0,
            },
        )
    }

    /// Writes what an argument points to, and tells where.
    fn write<T>(&self, at: usize, value: T) -> u64 {
        const { assert!(size_of::<T>() <= 512) };
        let address = self.page + at as u64 * 512;
        // SAFETY: the page is mapped as long as this process runs, and no reference to it exists.
        unsafe { (address as *mut T).write_volatile(value) };
        address
    }
}

/// Whether the kernel serves a call.
fn served(info: &SyscallInfo) -> bool {
    let [first, ..] = [0u64; 6];
    let handle = info
        .arguments
        .first()
        .is_some_and(|first| first.ty == "Handle");
    !handle || raw(info.number, [first, 0, 0, 0, 0, 0]) != Err(Error::Unsupported)
}

/// The capabilities among the arguments of every call: the call, where, and of what.
fn capabilities() -> impl Iterator<Item = (&'static SyscallInfo, usize, Wanted)> {
    SYSCALLS
        .iter()
        .filter(|info| served(info))
        .flat_map(|info| {
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
    ("port_bind", Rights::WAIT, 1, ObjectKind::Notification, &[]),
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

/// Without the right a call is `Denied`, and with it, it is not.
fn denied(good: &Good<'_>, (call, missing, place, kind, changes): Further) {
    let Some(info) = SYSCALLS
        .iter()
        .find(|info| info.name == call && served(info))
    else {
        return;
    };
    let answer = |handle: Option<Handle>| {
        let handle = handle?;
        let mut arguments = good.arguments(info, place, handle)?;
        for &(at, value) in changes {
            arguments[at] = value;
        }
        let answer = raw(info.number, arguments);
        let _ = cap_drop(handle);
        Some(answer)
    };
    let Some(without) = answer(weakened(good.case, kind, missing)) else {
        return;
    };
    refused!(
        without,
        Error::Denied,
        "{call} of a {kind:?} without {missing:?}"
    );
    let whole = object(good.case, kind);
    let has = |handle: Handle| cap_info(handle).is_ok_and(|info| info.rights & missing.bits() != 0);
    if whole.is_some_and(has) {
        check!(
            answer(whole) != Some(Err(Error::Denied)),
            "{call} of a {kind:?} is Denied with every right"
        );
    }
}

/// What carries capabilities, and refuses one without a right that its mode needs.
pub fn missing_rights_in_messages(case: &Case) {
    let good = Good::new(case);
    let carriers = SYSCALLS.iter().filter(|info| {
        let first = |argument: &&ArgumentInfo| points_to(argument, "Message");
        info.arguments.iter().find(first).is_some() && info.errors.contains(&Error::Shared)
    });
    for info in carriers.filter(|info| served(info)) {
        for (mode, missing) in [
            (Mode::Share, Rights::GRANT),
            (Mode::Share, Rights::DUPLICATE),
            (Mode::Move, Rights::GRANT),
            (Mode::Move, Rights::MOVE),
            (Mode::CopyOnWrite, Rights::GRANT),
            (Mode::CopyOnWrite, Rights::READ),
            (Mode::CopyOnWrite, Rights::DUPLICATE),
        ] {
            let Some(carried) = weakened(case, ObjectKind::Region, missing) else {
                continue;
            };
            let Some(end) = wanted(info, &info.arguments[0]).and_then(|wanted| match wanted {
                Wanted::One(ObjectKind::ChannelEnd) => open_end(),
                Wanted::One(kind) => object(case, kind),
                _ => None,
            }) else {
                continue;
            };
            let Some(arguments) = good.arguments(info, 0, end) else {
                continue;
            };
            let transfer = good.write(5, HandleTransfer::new(carried, mode, Rights::all()));
            let message = Message {
                handles: transfer,
                handles_len: 1,
                ..Message::default()
            };
            good.write(1, message);
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
            let Some(wrong) = good.object(kind) else {
                continue;
            };
            let Some(arguments) = good.arguments(info, place, wrong) else {
                continue;
            };
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
                let Some((dead, token)) = object(case, kind).and_then(end) else {
                    continue;
                };
                let Some(arguments) = good.arguments(info, place, dead) else {
                    continue;
                };
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
