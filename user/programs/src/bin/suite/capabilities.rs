//! Capabilities: what they allow, what is derived from them, and how they die.

use abi::ObjectKind;
use abi::limits::MAX_HANDLES;
use rt::{Env, Error, Handle, MapFlags, Mode, Rights};

use crate::Case;
use crate::calls::{
    READ_WRITE, cap_derive, cap_drop, cap_info, cap_revoke, cap_same, map, map_all, peek, region,
    small_ring,
};
use crate::check::succeeds;
use crate::memory::{worker, worker_faults};

fn rights(handle: Handle) -> Rights {
    Rights::from_bits_truncate(done!(cap_info(handle), "cap_info").rights)
}

pub fn derive(_: &Case) {
    let handle = region(4096);
    same!(rights(handle), Rights::REGION, "the rights of a creator");
    let reader = done!(
        cap_derive(handle, Rights::READ | Rights::MAP | Rights::DUPLICATE),
        "deriving"
    );
    same!(
        rights(reader),
        Rights::READ | Rights::MAP | Rights::DUPLICATE,
        "what was asked for"
    );
    let more = done!(cap_derive(reader, Rights::all()), "deriving all");
    same!(rights(more), rights(reader), "no more than the parent");
    let less = done!(cap_derive(more, Rights::MAP), "deriving less");
    refused!(cap_derive(less, Rights::MAP), Error::Denied, "no DUPLICATE");
    refused!(
        map(less, 0, 0, 0, Rights::READ, MapFlags::empty()),
        Error::Denied,
        "mapping without READ"
    );
    refused!(
        map(reader, 0, 0, 0, READ_WRITE, MapFlags::empty()),
        Error::Denied,
        "writing without WRITE"
    );
    same!(cap_same(handle, less), Ok(true), "one object");
    same!(cap_same(handle, region(4096)), Ok(false), "two objects");
    let info = done!(cap_info(handle), "cap_info");
    same!(
        (info.descendants, info.kind),
        (3, ObjectKind::Region as u32),
        "facts"
    );
}

pub fn drop_and_reuse(_: &Case) {
    let first = region(1);
    done!(cap_drop(first), "dropping");
    refused!(cap_drop(first), Error::BadHandle, "dropping twice");
    let mut last = first;
    for _ in 0..1000 {
        let handle = region(1);
        check!(handle != first && handle != last, "a handle came back");
        refused!(cap_info(first), Error::BadHandle, "a dropped handle");
        refused!(cap_info(last), Error::BadHandle, "a dropped handle");
        done!(cap_drop(handle), "dropping");
        last = handle;
    }
    let kind = |kind: u64| Handle::from_bits(last.bits() & !(0xff << 56) | kind << 56);
    let good = region(1);
    for forged in [
        Handle::NONE,
        kind(2),
        kind(9),
        Handle::from_bits(good.bits() + (1 << 24)),
        Handle::from_bits(good.bits() ^ (3 << 56)),
        Handle::from_bits(good.bits() | 1 << 63),
        Handle::from_bits(u64::MAX),
    ] {
        refused!(cap_info(forged), Error::BadHandle, "{forged:?}");
    }
}

pub fn foreign(case: &Case) {
    let mut last = Handle::NONE;
    for _ in 0..40 {
        last = region(1);
    }
    let number = alloc::format!("{}", last.bits());
    let child = case.child("foreign").arg(&number);
    succeeds(&done!(child.start(), "starting a child"));
    done!(cap_info(last), "it is still there");
}

pub fn revoke_counts(_: &Case) {
    let root = region(4096);
    let all = Rights::all();
    same!(cap_revoke(root), Ok(0), "nothing below");
    let mut chain = root;
    for _ in 0..50 {
        let child = done!(cap_derive(chain, all), "deriving");
        done!(cap_derive(chain, Rights::READ), "deriving a sibling");
        chain = child;
    }
    let middle = done!(cap_derive(root, all), "deriving");
    let leaf = done!(cap_derive(middle, all), "deriving");
    let mapped = map_all(leaf, Rights::READ);
    let own = map_all(root, Rights::READ);
    same!(cap_revoke(middle), Ok(1), "one below");
    refused!(cap_info(leaf), Error::Revoked, "a revoked handle");
    done!(cap_info(middle), "the one that was revoked from");
    refused!(
        crate::calls::protect(mapped, Rights::READ),
        Error::Revoked,
        "a mapping under it"
    );
    same!(cap_revoke(root), Ok(101), "all below");
    refused!(cap_info(chain), Error::Revoked, "the deepest");
    refused!(cap_info(middle), Error::Revoked, "the middle");
    same!(peek(own), 0, "the root's own mapping");
    done!(cap_drop(chain), "dropping a revoked handle");
    same!(cap_revoke(root), Ok(0), "nothing is left below");
}

pub fn revoke_elsewhere(case: &Case) {
    let shared = region(4096);
    let mine = map_all(shared, Rights::READ);
    for _ in 0..20 {
        let (process, flag) = worker(case, "read_for_ever", shared, Rights::READ);
        same!(cap_revoke(shared), Ok(1), "capabilities that died");
        let count = peek(flag + 8);
        worker_faults(&process, flag);
        check!(
            peek(flag + 8) <= count + 1,
            "it read on after its capability was revoked"
        );
        same!(peek(mine), 0, "the owner's mapping");
    }
}

pub fn revoke_pending(_: &Case) {
    let (via, back) = small_ring();
    let handle = region(4096);
    let token = done!(rt::grant(handle, via, Mode::Share, Rights::READ), "a grant");
    same!(cap_revoke(handle), Ok(1), "capabilities that died");
    refused!(rt::accept(token, back), Error::NotFound, "accepting");
    refused!(crate::calls::cancel(token), Error::NotFound, "cancelling");
}

pub fn table_full(_: &Case) {
    let handle = region(4096);
    let mut count = 0;
    let refusal = loop {
        match cap_derive(handle, Rights::READ) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    same!(refusal, Error::Limit, "the last answer");
    check!(
        count > MAX_HANDLES - 16,
        "{count} handles are fewer than promised"
    );
    same!(cap_revoke(handle), Ok(count as u64), "what was derived");
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "foreign" => {
            let handle = Handle::from_bits(crate::number(env, 0));
            refused!(cap_info(handle), Error::BadHandle, "cap_info");
            refused!(cap_drop(handle), Error::BadHandle, "cap_drop");
            refused!(cap_revoke(handle), Error::BadHandle, "cap_revoke");
            refused!(
                map(handle, 0, 0, 0, Rights::READ, MapFlags::empty()),
                Error::BadHandle,
                "map"
            );
        }
        _ => return None,
    }
    Some(0)
}
