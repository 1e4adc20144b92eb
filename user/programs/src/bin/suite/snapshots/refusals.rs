//! What is refused: pinned memory, memory that others have, and arguments that make no sense.

use abi::limits::LEAF_SIZE;
use abi::{SYSCALLS, Syscall};
use rt::{Error, GrantFlags, Handle, Mode, Rights, SnapshotFlags};

use super::PAGE;
use crate::Case;
use crate::calls::{
    READ_WRITE, cap_derive, cap_drop, cap_info, cap_revoke, grant, map_all, peek, poke, raw,
    region, region_commit, region_decommit, region_destroy, region_info, region_pin,
    region_snapshot, region_unpin, small_ring,
};

const NONE: SnapshotFlags = SnapshotFlags::empty();

pub fn pins(_: &Case) {
    let (via, back) = small_ring();
    let handle = region(3 * PAGE);
    done!(region_pin(handle), "pinning");
    done!(region_pin(handle), "pinning twice");
    let info = done!(region_info(handle), "region_info");
    same!((info.pins, info.present_pages), (2, 3), "pins and pages");
    let pinned = Error::Pinned;
    refused!(region_snapshot(handle, 0, 0, NONE), pinned, "snapshot");
    refused!(region_decommit(handle, 0, 0), pinned, "decommit");
    refused!(region_destroy(handle), pinned, "destroy");
    for (mode, flags) in [
        (Mode::Move, GrantFlags::empty()),
        (Mode::Move, GrantFlags::REVOKE_OTHERS),
        (Mode::CopyOnWrite, GrantFlags::empty()),
        (Mode::CopyOnWrite, GrantFlags::OVERCOMMIT),
    ] {
        let granted = grant(handle, via, mode, Rights::all(), flags);
        refused!(granted, pinned, "{mode:?}");
    }
    let token = rt::grant(handle, via, Mode::Share, Rights::READ | Rights::MAP);
    let shared = done!(rt::accept(done!(token, "Share"), back), "accepting");
    done!(region_pin(shared), "pinning what was shared");
    refused!(region_unpin(region(PAGE)), Error::NotFound, "no pin");
    for _ in 0..2 {
        done!(region_unpin(handle), "unpinning");
    }
    refused!(region_unpin(handle), Error::NotFound, "another's pin");
    refused!(region_snapshot(handle, 0, 0, NONE), pinned, "snapshot");
    done!(cap_drop(shared), "dropping");
    done!(region_snapshot(handle, 0, 0, NONE), "after the drop");
    let derived = done!(cap_derive(handle, Rights::MAP), "deriving");
    done!(region_pin(derived), "pinning what was derived");
    same!(done!(cap_revoke(handle), "revoking"), 1, "what was revoked");
    done!(region_snapshot(handle, 0, 0, NONE), "after the revoke");
    let copy = region_snapshot(handle, 0, 0, SnapshotFlags::OVERCOMMIT);
    let copy = done!(copy, "an overcommitted snapshot");
    refused!(region_pin(copy), Error::Unsupported, "what may be lost");
    done!(region_destroy(handle), "destroying");
}

pub fn revoke_others(_: &Case) {
    let (via, back) = small_ring();
    let go = |handle| {
        let flags = GrantFlags::REVOKE_OTHERS;
        grant(handle, via, Mode::Move, Rights::all(), flags)
    };
    let top = region(PAGE);
    let start = map_all(top, READ_WRITE);
    poke(start, 9);
    let all = Rights::REGION;
    let below = done!(cap_derive(top, all), "deriving");
    let lower = done!(cap_derive(below, Rights::READ | Rights::MAP), "deriving");
    refused!(go(below), Error::Shared, "what is above can read");
    done!(cap_info(lower), "what is below, after the refusal");
    let lame = done!(cap_derive(top, all - Rights::REVOKE), "deriving");
    refused!(go(lame), Error::Denied, "without REVOKE");
    refused!(
        grant(top, via, Mode::Move, Rights::all(), GrantFlags::empty()),
        Error::Shared,
        "without the flag"
    );
    let token = done!(go(top), "Move");
    for handle in [below, lower, lame] {
        refused!(cap_info(handle), Error::Revoked, "what was below");
    }
    let moved = done!(rt::accept(token, back), "accepting");
    let info = done!(cap_info(moved), "cap_info");
    same!(info.descendants, 0, "what is left below");
    same!(peek(map_all(moved, Rights::READ)), 9, "the bytes");
}

pub fn bad_arguments(case: &Case) {
    let (via, back) = small_ring();
    let handle = region(3 * PAGE);
    let start = map_all(handle, READ_WRITE);
    poke(start, 5);
    let before = done!(rt::system_info(), "system_info");
    for (offset, len, error) in [
        (0, 1, Error::Align),
        (1, PAGE, Error::Align),
        (0, 4 * PAGE, Error::Range),
        (3 * PAGE, 0, Error::Range),
        (0, 1 << 47, Error::Range),
        (1 << 47, 0, Error::Range),
        (PAGE, u64::MAX, Error::Range),
        (0, u64::MAX, Error::Range),
        (u64::MAX, u64::MAX, Error::Range),
        (!4095, 2 * PAGE, Error::Range),
    ] {
        let at = (offset, len);
        refused!(region_commit(handle, offset, len), error, "commit {at:x?}");
        refused!(
            region_decommit(handle, offset, len),
            error,
            "decommit {at:x?}"
        );
    }
    for (offset, len, error) in [
        (0, 1, Error::Align),
        (PAGE, 0, Error::Align),
        (u64::MAX, 0, Error::Align),
        (LEAF_SIZE, 0, Error::Range),
        (1 << 47, 0, Error::Range),
        (0, 1 << 47, Error::Range),
        (0, u64::MAX, Error::Range),
        (!(LEAF_SIZE - 1), 2 * LEAF_SIZE, Error::Range),
    ] {
        let at = (offset, len);
        let copy = region_snapshot(handle, offset, len, NONE);
        refused!(copy, error, "snapshot {at:x?}");
    }
    let number = Syscall::RegionSnapshot as u64;
    for flags in [2, 3, 1 << 31, 1 << 32, u64::MAX] {
        let answer = raw(number, [handle.bits(), 0, 0, flags, 0, 0]);
        same!(answer, Err(Error::Invalid), "the flags {flags:#x}");
    }
    for (mode, flags) in [
        (0, 1),
        (0, 2),
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
        (1, 4),
        (2, 1 << 40),
    ] {
        let flags: u64 = flags;
        let arguments = [handle.bits(), via.bits(), mode, u64::MAX, flags, 0];
        let answer = raw(Syscall::Grant as u64, arguments);
        match answer {
            // The two that say something.
            Ok(token) => {
                let token = rt::Token::from_bits(token);
                check!(flags < 4, "the flags {flags:#x} with mode {mode}");
                done!(crate::calls::cancel(token), "cancelling");
            }
            Err(error) => check!(
                matches!(error, Error::Invalid | Error::Shared),
                "the flags {flags:#x} with mode {mode}: {error}"
            ),
        }
    }
    // A Move that was taken back comes back unmapped.
    same!(peek(map_all(handle, READ_WRITE)), 5, "the bytes");
    let after = done!(rt::system_info(), "system_info");
    same!(after.objects, before.objects, "objects after all that");

    // Every call on pages, with handles that stand for something else or nothing.
    let calls = [
        Syscall::RegionCommit,
        Syscall::RegionDecommit,
        Syscall::RegionSnapshot,
        Syscall::RegionPin,
        Syscall::RegionUnpin,
    ];
    let stale = region(PAGE);
    done!(cap_drop(stale), "dropping");
    let parent = region(PAGE);
    let revoked = done!(cap_derive(parent, Rights::REGION), "deriving");
    done!(cap_revoke(parent), "revoking");
    let moved = region(PAGE);
    let token = done!(rt::grant(moved, via, Mode::Move, Rights::all()), "Move");
    let handles = [
        (case.image, Error::WrongKind),
        (via, Error::WrongKind),
        (Handle::NONE, Error::BadHandle),
        (Handle::from_bits(u64::MAX), Error::BadHandle),
        (stale, Error::BadHandle),
        (revoked, Error::Revoked),
        (moved, Error::InTransit),
    ];
    for call in calls {
        let name = SYSCALLS.iter().find(|info| info.number == call as u64);
        let name = name.map_or("?", |info| info.name);
        for (handle, error) in handles {
            let answer = raw(call as u64, [handle.bits(), 0, 0, 0, 0, 0]);
            same!(answer, Err(error), "{name} on {handle:?}");
        }
    }
    let accepted = done!(rt::accept(token, back), "accepting");
    done!(region_commit(accepted, 0, 0), "commit after all that");
    // The initrd is one region of another kind that programs have.
    let (initrd, fixed) = (case.initrd, Error::Unsupported);
    let copy = region_snapshot(initrd, 0, 0, NONE);
    refused!(copy, fixed, "a snapshot of what boot brought");
    refused!(region_decommit(initrd, 0, 0), Error::Denied, "decommit");
}
