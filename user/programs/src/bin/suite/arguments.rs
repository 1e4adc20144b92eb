//! Arguments for any call of the one table, made from the names and types that the table gives them.

use alloc::vec::Vec;
use core::cell::RefCell;

use abi::{ArgumentInfo, DeriveArgs, HandleTransfer, ObjectKind, SpawnArgs, SyscallInfo};
use rt::{CachePolicy, Handle, Mode, Resources, Rights};

use crate::Case;
use crate::calls::{READ_WRITE, cap_drop, map_all, region, small_ring};
use crate::objects::{kinds, object};

/// What an argument has to be a capability of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Of this kind.
    One(ObjectKind),
    /// Whatever leads to another process.
    Way,
    /// Anything.
    Any,
}

impl Wanted {
    /// Every kind that does.
    pub fn kinds(self) -> impl Iterator<Item = ObjectKind> {
        kinds().filter(move |&kind| self.takes(kind))
    }

    /// Whether this kind does.
    pub fn takes(self, kind: ObjectKind) -> bool {
        match self {
            Wanted::One(wanted) => wanted == kind,
            Wanted::Way => matches!(
                kind,
                ObjectKind::RingEnd
                    | ObjectKind::ChannelEnd
                    | ObjectKind::HubMember
                    | ObjectKind::Process
            ),
            Wanted::Any => true,
        }
    }
}

/// Whether an argument is a pointer to such a structure.
pub fn points_to(argument: &ArgumentInfo, structure: &str) -> bool {
    let target = argument.ty.strip_prefix("UserPtr").unwrap_or_default();
    target.trim_matches(|letter| " <>".contains(letter)) == structure
}

/// What an argument of a call has to be a capability of, if it is one.
pub fn wanted(info: &SyscallInfo, argument: &ArgumentInfo) -> Option<Wanted> {
    if points_to(argument, "SpawnArgs") {
        return Some(Wanted::One(ObjectKind::Image));
    }
    if argument.ty != "Handle" {
        return None;
    }
    let kind = match (argument.name, info.name.split('_').next()) {
        ("region", _) => ObjectKind::Region,
        ("end" | "waiting", Some("ring")) => ObjectKind::RingEnd,
        ("end", Some("channel")) => ObjectKind::ChannelEnd,
        ("process", _) => ObjectKind::Process,
        ("resource", _) => ObjectKind::Resource,
        ("notification", _) => ObjectKind::Notification,
        ("port", _) => ObjectKind::Port,
        ("reply", _) => ObjectKind::Reply,
        ("timer", _) => ObjectKind::Timer,
        ("thread", _) => ObjectKind::Thread,
        ("hub", _) => ObjectKind::Hub,
        ("member", _) => ObjectKind::HubMember,
        ("submission", _) => ObjectKind::SubmissionRing,
        ("source", _) => ObjectKind::Region,
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
pub struct Good<'a> {
    /// The case.
    pub case: &'a Case,
    /// A page for what arguments point to.
    page: u64,
    /// Objects that serve as arguments again and again.
    objects: RefCell<Vec<(ObjectKind, Handle)>>,
    /// What leads to this process itself.
    way: Handle,
    /// What names nothing any more.
    pub dead: Handle,
}

impl<'a> Good<'a> {
    /// With objects that are made when they are needed.
    pub fn new(case: &'a Case) -> Good<'a> {
        let dead = object(case, ObjectKind::Notification);
        done!(cap_drop(dead), "dropping");
        Good {
            dead,
            case,
            page: map_all(region(4096), READ_WRITE),
            objects: RefCell::default(),
            way: small_ring().0,
        }
    }

    /// An object of a kind, the same each time.
    pub fn object(&self, kind: ObjectKind) -> Handle {
        let mut objects = self.objects.borrow_mut();
        if let Some((_, handle)) = objects.iter().find(|(made, _)| *made == kind) {
            return *handle;
        }
        let handle = object(self.case, kind);
        objects.push((kind, handle));
        handle
    }

    /// Arguments with which a call can succeed but for the capability at `place`.
    pub fn arguments(&self, info: &SyscallInfo, place: usize, handle: Handle) -> [u64; 6] {
        let mut values = [0; 6];
        for (at, argument) in info.arguments.iter().enumerate() {
            values[at] = match wanted(info, argument) {
                Some(_) if argument.ty != "Handle" => self.spawn_args(at, place, handle),
                Some(_) if at == place => handle.bits(),
                Some(Wanted::One(kind)) => self.object(kind).bits(),
                Some(Wanted::Way) => self.way.bits(),
                Some(Wanted::Any) => self.object(ObjectKind::Notification).bits(),
                None => self.value(at, argument, handle.kind()),
            };
        }
        values
    }

    /// A value for an argument that is no capability, with one of this kind.
    fn value(&self, at: usize, argument: &ArgumentInfo, kind: Option<ObjectKind>) -> u64 {
        match (argument.name, argument.ty) {
            _ if points_to(argument, "DeriveArgs") => {
                self.write(at, DeriveArgs::new(Rights::INSPECT))
            }
            (_, pointer) if pointer.starts_with("UserPtr") => self.write(at, [0u64; 60]),
            ("deadline", _) => rt::now_ns() + 1_000_000,
            (_, "Rights") => Rights::READ.bits().into(),
            (_, "Mode") => match kind {
                // They are never shared.
                Some(ObjectKind::RingEnd | ObjectKind::Reply | ObjectKind::HubMember) => {
                    Mode::Move as u64
                }
                _ => Mode::Share as u64,
            },
            (_, "CachePolicy") => CachePolicy::Uncached as u64,
            (_, "Events") => abi::Events::SIGNALED.bits().into(),
            ("slot", _) => u64::MAX,
            ("bits" | "priority" | "count" | "seen" | "capacity" | "len", _) => 1,
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
    pub fn write<T>(&self, at: usize, value: T) -> u64 {
        const { assert!(size_of::<T>() <= 512) };
        let address = self.page + at as u64 * 512;
        // SAFETY: the page is mapped as long as this process runs, and no reference to it exists.
        unsafe { (address as *mut T).write_volatile(value) };
        address
    }
}
