//! The suite: one case in each process, started by init.
//!
//! Arguments: the name of a case, `lives ROUNDS`, `--list`, `exit N`, or `child ROLE ARG…` for the processes
//! that cases start. Handles of a case and of `lives`: the initrd, the image of this program, the resource of
//! all devices, the statistics.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

#[macro_use]
mod check;
mod arguments;
mod calls;
mod capabilities;
mod channels;
mod demos;
mod derived;
mod devices;
mod drivers;
mod examples;
mod faults;
mod fuses;
mod halves;
mod hubs;
mod images;
mod interrupts;
mod lives;
mod matrix;
mod memory;
mod objects;
mod priorities;
mod processes;
mod quotas;
mod races;
mod refusals;
mod rings;
#[path = "../../../../../ring/tests/script/mod.rs"]
mod script;
mod services;
mod snapshots;
mod statistics;
mod submissions;
mod supervision;
mod sweep;
mod system;
mod threads;
mod timers;
mod trace;
mod transfers;
mod waiting;

use programs::cases::CASES;
use programs::entries::Entries;
use programs::for_each_case;
use rt::{Env, Handle, Spawn};

rt::entry!(run);

/// What a case works with.
#[derive(Debug)]
pub struct Case {
    /// The initrd.
    pub initrd: Handle,
    /// This program.
    pub image: Handle,
    /// The resource of all devices.
    pub devices: Handle,
    /// The statistics.
    pub statistics: Handle,
    /// Where it ends processes that it ends at every entry.
    pub entries: Entries,
}

impl Case {
    fn given(env: &Env) -> Case {
        Case {
            initrd: env.handle(0),
            image: env.handle(1),
            devices: env.handle(2),
            statistics: env.handle(3),
            entries: Entries::USUAL,
        }
    }

    /// A process of this program in a role.
    pub fn child(&self, role: &str) -> Spawn<'static> {
        Spawn::new(self.image, "suite").arg("child").arg(role)
    }
}

macro_rules! find_case {
    ($($module:ident :: $case:ident $sentence:literal;)*) => {
        /// The function of a case.
        fn find(id: &str) -> Option<fn(&Case)> {
            match id {
                $(concat!(stringify!($module), ".", stringify!($case)) => Some($module::$case),)*
                _ => None,
            }
        }
    };
}

for_each_case!(find_case);

fn run(env: &Env) -> u8 {
    let mut args = env.args().skip(1);
    match args.next() {
        Some("--list") => {
            for (id, sentence) in CASES {
                rt::println!("{id}\t{sentence}");
            }
            0
        }
        // More frames than the kernel's heap is promised room to list.
        Some("large-ring") => u8::from(rt::ring(64 << 10, 4096).is_err()),
        // Ends in the middle of a line.
        Some("murmur") => {
            rt::print!("no end of line");
            7
        }
        Some("exit") => args
            .next()
            .and_then(|status| status.parse().ok())
            .unwrap_or(2),
        Some("lives") => {
            let case = Case::given(env);
            let rounds = args.next().and_then(|rounds| rounds.parse().ok());
            let rounds = rounds.unwrap_or(1);
            fuses::without_limit(&case, rounds);
            demos::without_limit(&case, rounds);
            examples::without_limit(&case, rounds);
            drivers::without_limit(&case, rounds);
            0
        }
        Some("child") => match args.next() {
            Some(role) => child(role, env),
            None => usage(),
        },
        Some(id) => match find(id) {
            Some(case) => {
                let share = args.next().map_or(Ok(Entries::USUAL), str::parse);
                let Ok(entries) = share else {
                    return usage();
                };
                let given = Case {
                    entries,
                    ..Case::given(env)
                };
                programs::on_first_cpu(move || case(&given));
                0
            }
            None => usage(),
        },
        None => usage(),
    }
}

fn usage() -> u8 {
    rt::println!("suite: needs the name of a case [K/N], --list, exit N or child ROLE");
    2
}

/// Plays a role in a case; the modules know theirs.
fn child(role: &str, env: &Env) -> u8 {
    let roles = [
        system::child,
        timers::child,
        faults::child,
        memory::child,
        capabilities::child,
        channels::child_role,
        halves::child,
        demos::child,
        derived::child,
        examples::child,
        devices::child,
        transfers::child,
        snapshots::child,
        rings::child,
        hubs::child,
        processes::child,
        trace::child,
        threads::child,
        priorities::child,
        supervision::child,
        quotas::child,
        interrupts::child,
        races::child,
        sweep::child,
        services::child,
        objects::child,
        matrix::child,
        lives::child,
        waiting::child,
        submissions::child,
    ];
    let answer = roles.iter().find_map(|play| play(role, env));
    answer.unwrap_or_else(|| {
        rt::println!("suite: no role `{role}`");
        2
    })
}

/// An argument of a role, as a number.
pub fn number(env: &Env, index: usize) -> u64 {
    let argument = env.args().nth(index + 3);
    done!(
        argument
            .and_then(|text| text.parse().ok())
            .ok_or(rt::Error::Invalid),
        "argument {index}"
    )
}
