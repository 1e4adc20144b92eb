//! The kernel's door, and capabilities.

use programs::expect;
use rt::{CachePolicy, Handle, RegionFlags, Rights, sys};

use crate::measure::{figure, least, report, time, watched};

/// Children of a capability in the figure for each.
const CHILDREN: usize = 9;

pub fn run() {
    // SAFETY: the calls touch no memory.
    figure("null_syscall", || time(|| unsafe { sys::nop() }).0);

    // SAFETY: as above.
    let region =
        unsafe { sys::region_create(4096, RegionFlags::COMMIT, CachePolicy::WriteBack, u64::MAX) };
    let region = expect!(region, "bench: a region");
    figure("derive_drop", || time(|| derive_and_drop(region)).0);
    figure("revoke_0", || time(|| revoke(region)).0);
    let of = |children| {
        let derived: [Handle; CHILDREN] = core::array::from_fn(|index| {
            if index < children {
                derive(region)
            } else {
                Handle::NONE
            }
        });
        let (instructions, ()) = time(|| revoke(region));
        for handle in &derived[..children] {
            let _ = rt::drop_handle(*handle);
        }
        instructions
    };
    let further = CHILDREN as u64 - 1;
    let each = (least(|| of(CHILDREN)) - least(|| of(1))) / further;
    report("revoke_child", each);
    watched("revoke_one", || of(1));
    watched("revoke_all", || of(CHILDREN));
    rt::println!("#difference key=revoke_child of=revoke_all less=revoke_one each={further}");
    let _ = rt::drop_handle(region);
}

fn derive(region: Handle) -> Handle {
    // SAFETY: the call touches no memory.
    let derived = unsafe { sys::cap_derive(region, Rights::READ) };
    expect!(derived, "bench: derive")
}

fn derive_and_drop(region: Handle) {
    let derived = derive(region);
    expect!(rt::drop_handle(derived), "bench: drop");
}

fn revoke(region: Handle) {
    // SAFETY: no mapping was made below the capability.
    let revoked = unsafe { sys::cap_revoke(region, rt::RevokeFlags::empty()) };
    expect!(revoked, "bench: revoke");
}
