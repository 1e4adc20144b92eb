//! The kernel's door, and capabilities.

use programs::expect;
use rt::{CachePolicy, Handle, RegionFlags, Rights, Submissions, sys};

use crate::measure::{figure, least, report, time, watched};

/// Children of a capability in the figure for each.
const CHILDREN: usize = 9;

/// Entries of a submission ring that are served at once.
const BATCH: u32 = 32;

pub fn run() {
    // SAFETY: the calls touch no memory.
    figure("null_syscall", || time(|| unsafe { sys::nop() }).0);

    let mut ring = expect!(Submissions::new(64), "bench: a submission ring");
    let mut batch = || time(|| do_nothing(&mut ring)).0;
    report("sub_nop_of_32", least(&mut batch) / u64::from(BATCH));
    watched("sub_nops", batch);
    watched("sub_no_nops", || ());
    rt::println!("#difference key=sub_nop_of_32 of=sub_nops less=sub_no_nops each={BATCH}");
    drop(ring);

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

/// Asks for nothing so often, and takes the answers.
fn do_nothing(ring: &mut Submissions) {
    for number in 0..BATCH {
        expect!(ring.nop(number.into()), "bench: an entry");
    }
    let taken = expect!(ring.submit(), "bench: submitting");
    let mut completed = 0;
    while let Some(completion) = ring.take() {
        completed += u32::from(completion.outcome() == Ok(0));
    }
    if (taken, completed) != (BATCH, BATCH) {
        rt::println!("bench: {taken} entries, {completed} completions");
        rt::exit(1);
    }
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
