//! What the programs share: the files in the initrd, the messages of the demonstrations, what the name
//! service knows, when a supervisor tries again, the picture of `draw`, the PCI buses and devices, at which entries
//! the suite ends processes, and what the system holds.

#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

pub mod archive;
pub mod cases;
pub mod demo;
pub mod display;
pub mod edu;
pub mod entries;
pub mod fault;
pub mod held;
pub mod kv;
pub mod logs;
pub mod names;
pub mod pci;
pub mod picture;
pub mod search;
pub mod store;
pub mod supervision;

use rt::{Env, ObjectKind, ThreadSpawn};

/// Ends the program with a line that says why, unless all is well.
#[macro_export]
macro_rules! expect {
    ($result:expr, $($what:tt)*) => {
        match $result {
            Ok(value) => value,
            Err(error) => {
                rt::println!("{}: {error}", format_args!($($what)*));
                rt::exit(1)
            }
        }
    };
}

/// Runs something on the first CPU, where others count on it to be. The process itself may be anywhere,
/// or what it starts could not.
pub fn on_first_cpu(body: impl FnOnce() + Send + 'static) {
    if expect!(rt::system_info(), "where this runs").cpu == 0 {
        return body();
    }
    let thread = ThreadSpawn::new().cpus(1 << 0).start(body);
    let ended = expect!(thread, "starting a thread").join();
    expect!(ended, "waiting for a thread");
}

/// Ends the program with status 2 unless it was given handles of these kinds, in this order; more may
/// follow. `usage` says who starts it so.
pub fn expect_handles(env: &Env, kinds: &[ObjectKind], usage: &str) {
    let given = |index| env.handle(index).kind();
    for (index, &kind) in kinds.iter().enumerate() {
        if given(index) != Some(kind) {
            let program = env.args().next().unwrap_or("program");
            rt::println!("{program}: its handle {index} is no {kind}: {usage}");
            rt::exit(2);
        }
    }
}
