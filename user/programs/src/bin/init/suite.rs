//! The suite: each case is a fresh process with a time limit, and has to leave nothing behind.

use abi::limits::{DEFAULT_PRIORITY, MAX_PRIORITY};
use programs::cases::{CASES, MOST_URGENT, is_taken};
use programs::expect;
use programs::held::Held;
use rt::{Error, Handle, Mode, ProcessStatus, Region, Rights, Spawn};

use crate::{Given, Initrd, READ_INITRD, READ_STATISTICS};

/// What a case may do with the statistics: it starts programs that read them.
const PASS_STATISTICS: Rights = READ_STATISTICS
    .union(Rights::GRANT)
    .union(Rights::DUPLICATE);
/// How long a case may take, in ms of the guest's clock.
const LIMIT_MS: u64 = 20_000;
/// How long its children may take to be gone after it, in ms.
const SETTLE_MS: u64 = 5_000;

/// What cases may do with the initrd, and programs that start others.
pub const INITRD_RIGHTS: Rights = READ_INITRD.union(Rights::GRANT).union(Rights::DUPLICATE);
/// What cases may do with the image of the program that they are in.
const IMAGE_RIGHTS: Rights = Rights::EXECUTE
    .union(Rights::GRANT)
    .union(Rights::DUPLICATE)
    .union(Rights::INSPECT);

/// Runs every case whose name contains one of the filters, which commas separate, or lists all. With a `share` those that
/// end processes at every entry do so at each N-th alone, from the K-th on.
pub fn run(initrd: &Initrd, given: Given, filter: Option<&str>, share: Option<&str>) -> u8 {
    if filter == Some("--list") {
        for (id, sentence) in CASES {
            rt::println!("#case {id} status=listed {sentence}");
        }
        return 0;
    }
    let image = initrd.image("suite");
    // What is left of a case has to run while this process waits for that.
    let _ = rt::set_priority(DEFAULT_PRIORITY);
    // The heap of this process grows with its first process, which no case is to blame for.
    let first = spawn(initrd, image, "suite", Some("exit"));
    let first = first
        .handle(given.devices, Mode::Share, Rights::all())
        .handle(given.statistics, Mode::Share, READ_STATISTICS)
        .start();
    let first = expect!(first, "init: starting the suite");
    let _ = first.wait(rt::FOREVER);
    drop(first);
    // So does the list of who has mapped the statistics.
    let statistics = Region::from_handle(given.statistics);
    let mapping = statistics.map(Rights::READ);
    drop(expect!(mapping, "init: mapping the statistics"));
    let _ = statistics.into_handle();
    // So do the tables of the kernel with their first tenants, and the tree of each object with the
    // first capability that is derived.
    let (via, end) = expect!(rt::ring(64, 16), "init: a ring");
    let token = rt::grant(image, via, Mode::Share, IMAGE_RIGHTS);
    let shared = token.and_then(|token| rt::accept(token, end));
    let _ = rt::drop_handle(expect!(shared, "init: the first grant"));
    let _ = (rt::drop_handle(via), rt::drop_handle(end));
    let (mut passed, mut failed) = (0, 0);
    for (id, sentence) in CASES {
        if !filter.is_none_or(|filter| is_taken(filter, id)) {
            continue;
        }
        let status = run_case(initrd, image, given, id, share);
        rt::println!("#case {id} status={status} {sentence}");
        if status == "ok" {
            passed += 1;
        } else {
            failed += 1;
        }
    }
    rt::println!("#suite passed={passed} failed={failed}");
    u8::from(failed > 0)
}

/// Ends the processes of the cases that do so at every entry into the kernel that there is, a number of rounds.
pub fn lives(initrd: &Initrd, given: Given, rounds: &str) -> u8 {
    let suite = spawn(initrd, initrd.image("suite"), "suite", Some("lives")).arg(rounds);
    let suite = suite
        .handle(given.devices, Mode::Share, Rights::all())
        .handle(given.statistics, Mode::Share, PASS_STATISTICS);
    let suite = expect!(suite.start(), "init: starting the suite");
    let status = expect!(suite.wait(rt::FOREVER), "init: waiting for the suite");
    u8::from(!status.succeeded())
}

/// A program that gets the initrd and its own image.
pub fn spawn<'a>(initrd: &Initrd, image: Handle, name: &'a str, arg: Option<&str>) -> Spawn<'a> {
    let spawn = arg.into_iter().fold(Spawn::new(image, name), Spawn::arg);
    spawn
        .handle(initrd.region.handle(), Mode::Share, INITRD_RIGHTS)
        .handle(image, Mode::Share, IMAGE_RIGHTS)
}

fn run_case(
    initrd: &Initrd,
    image: Handle,
    given: Given,
    id: &str,
    share: Option<&str>,
) -> &'static str {
    let before = expect!(Held::now(), "init: counters");
    let case = spawn(initrd, image, "suite", Some(id));
    let case = share.into_iter().fold(case, Spawn::arg);
    let case = case
        .handle(given.devices, Mode::Share, Rights::all())
        .handle(given.statistics, Mode::Share, PASS_STATISTICS);
    let case = match id {
        MOST_URGENT => case.priority(MAX_PRIORITY),
        _ => case,
    };
    let process = expect!(case.start(), "init: starting `{id}`");
    let outcome = match process.wait(rt::in_ms(LIMIT_MS)) {
        Ok(status) => judge(&status),
        Err(Error::TimedOut) => {
            let _ = process.kill();
            let _ = process.wait(rt::in_ms(LIMIT_MS));
            "timeout"
        }
        Err(error) => {
            rt::println!("init: waiting for `{id}`: {error}");
            "fail"
        }
    };
    drop(process);
    if outcome == "ok"
        && let Err(now) = before.restored(rt::in_ms(SETTLE_MS))
    {
        rt::println!("init: something was left behind: {before:?} became {now:?}");
        return "fail";
    }
    outcome
}

fn judge(status: &ProcessStatus) -> &'static str {
    if status.succeeded() { "ok" } else { "fail" }
}
