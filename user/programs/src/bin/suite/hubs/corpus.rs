//! The scripts that the fuzzer of guests has kept, played over a pool that is mapped twice, as a host and its guest do.

#[path = "../../../../../../ring/tests/hostile_guest/script.rs"]
mod script;

use core::ptr::NonNull;

use crate::Case;
use crate::calls::{READ_WRITE, cap_drop, map_all, region, unmap};

const SCRIPTS: &[&[u8]] = &include!(concat!(env!("OUT_DIR"), "/hostile_guest.rs"));

const _: () = assert!(script::POOL_BYTES <= 4096);

pub fn corpus(_: &Case) {
    check!(SCRIPTS.len() > 20, "only {} scripts", SCRIPTS.len());
    let pool = region(4096);
    let views = [(); 2].map(|()| map_all(pool, READ_WRITE));
    let bases = views.map(|view| NonNull::new(view as *mut u8).expect("nothing is mapped at 0"));
    for script in SCRIPTS {
        // SAFETY: both are the same page, which is mapped until the end of this and used here alone.
        unsafe { script::play(script, bases[0], bases[1]) };
    }
    for view in views {
        done!(unmap(view), "unmapping");
    }
    done!(cap_drop(pool), "dropping");
}
