//! What the options of the runner mean, and the machine and command line that they make.

use clap::Parser;
use handover_tests::machine::{Accelerator, Display, InstructionCount, Machine, memory_for_initrd};
use handover_tests::options::{Job, Options};

fn options(arguments: &[&str]) -> Options {
    Options::try_parse_from([&["handover"], arguments].concat()).expect("good options")
}

fn refused(arguments: &[&str]) -> bool {
    match Options::try_parse_from([&["handover"], arguments].concat()) {
        Err(_) => true,
        Ok(options) => options.job().and_then(|job| options.machine(&job)).is_err(),
    }
}

#[test]
fn each_job_has_its_arguments_for_init() {
    let arguments = |given: &[&str]| options(given).job().expect("a job").arguments();
    assert_eq!(arguments(&[]), ["init", "demo"]);
    assert_eq!(
        arguments(&["--exec", "hello 'a b' c\\ d"]),
        ["init", "exec", "hello", "a b", "c d"]
    );
    assert_eq!(arguments(&["--suite"]), ["init", "suite"]);
    assert_eq!(arguments(&["--suite", "ring"]), ["init", "suite", "ring"]);
    assert_eq!(
        arguments(&["--suite", "ring", "--share", "2/3"]),
        ["init", "suite", "ring", "2/3"]
    );
    assert_eq!(
        arguments(&["--suite", "--share", "1/1"]),
        ["init", "suite", ".", "1/1"]
    );
    assert_eq!(arguments(&["--lives"]), ["init", "lives", "1"]);
    assert_eq!(arguments(&["--lives", "7"]), ["init", "lives", "7"]);
    assert_eq!(arguments(&["--list"]), ["init", "suite", "--list"]);
    assert_eq!(arguments(&["--bench"]), ["init", "bench"]);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    for arguments in [
        &["--smp", "0"][..],
        &["--smp", "65"],
        &["--memory", "much"],
        &["--memory", "0"],
        &["--memory", "1000K"],
        &["--memory", "99999999999999999999G"],
        &["--numa", "3"],
        &["--timeout", "0"],
        &["--suite", "a", "--bench"],
        &["--lives", "many"],
        &["--share", "1/3"],
        &["--suite", "--share", "0/3"],
        &["--suite", "--share", "4/3"],
        &["--suite", "--share", "1/2"],
        &["--suite", "--share", "third"],
        &["--lives", "--suite"],
        &["--exec", "a", "--list"],
        &["--accel", "kvm", "--icount"],
        &["--bench", "--accel", "kvm"],
        &["--bench", "--icount", "off"],
        &["--plot"],
        &["--bench", "--plot", "--smp", "2"],
        &["--program", "file:a/b"],
        &["--program", "file:init.args"],
        &["--program", "input"],
        &["--screenshot"],
        &["--screenshot", "a.png", "--suite"],
        &["--screenshot", "a.png", "--bench"],
        &["--screenshot", "a.png", "--gdb"],
        &["--kernel", "nonsense"],
        &["--kernel", "selfcheck", "--exec", "a"],
        &["--suite", "no such case"],
        &["stray"],
    ] {
        assert!(refused(arguments), "{arguments:?}");
    }
}

#[test]
fn a_program_is_called_by_its_stem_unless_named() {
    let options = options(&["--program", "a/hello.elf", "--program", "b/hello.elf:other"]);
    let names: Vec<_> = options
        .programs
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    assert_eq!(names, ["hello", "other"]);
    assert_eq!(options.programs[1].path.to_str(), Some("b/hello.elf"));
}

#[test]
fn counting_instructions_is_on_where_it_can_be() {
    let count = |given: &[&str]| {
        options(given)
            .machine(&Job::Demo)
            .expect("a machine")
            .instruction_count
    };
    assert_eq!(count(&[]), InstructionCount::On);
    assert_eq!(count(&["--icount"]), InstructionCount::On);
    assert_eq!(count(&["--icount", "off"]), InstructionCount::Off);
    assert_eq!(count(&["--gdb"]), InstructionCount::Off);
    assert_eq!(count(&["--accel", "kvm"]), InstructionCount::Off);
}

#[test]
fn the_time_limit_depends_on_the_job_and_gdb_has_none() {
    let seconds = |given: &[&str]| {
        let options = options(given);
        let job = options.job().expect("a job");
        options
            .machine(&job)
            .expect("a machine")
            .time_limit
            .map(|limit| limit.as_secs())
    };
    assert_eq!(seconds(&[]), Some(60));
    assert_eq!(seconds(&["--suite"]), Some(600));
    assert_eq!(seconds(&["--timeout", "5"]), Some(5));
    assert_eq!(seconds(&["--gdb"]), None);
}

#[test]
fn memory_follows_the_initrd() {
    let mib = 1 << 20;
    assert_eq!(memory_for_initrd(0), 128);
    assert_eq!(memory_for_initrd(16 * mib), 192);
    assert_eq!(memory_for_initrd(16 * mib + 1), 256);
    assert_eq!(memory_for_initrd(65 * mib), 448);
}

fn command_line(machine: &Machine) -> String {
    let arguments = machine.arguments("k".as_ref(), "i".as_ref(), 0);
    let words: Vec<_> = arguments
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    words.join(" ")
}

#[test]
fn the_command_line_of_the_default_machine_is_the_known_good_one() {
    assert_eq!(
        command_line(&Machine::default()),
        "-machine q35 -accel tcg,thread=single -icount shift=0,sleep=off -cpu max -smp 2 -m 128M \
         -display none -net none -serial stdio -no-reboot -device isa-debug-exit,iobase=0xf4,iosize=4 \
         -vga none -kernel k -initrd i"
    );
}

#[test]
fn a_machine_has_a_display_when_it_is_asked_for_or_looked_at() {
    let display = |given: &[&str]| {
        let options = options(given);
        let job = options.job().expect("a job");
        options.machine(&job).expect("a machine").display
    };
    assert_eq!(display(&[]), Display::None);
    assert_eq!(display(&["--display"]), Display::Bochs);
    assert_eq!(display(&["--screenshot", "a.png"]), Display::Bochs);
    let machine = Machine {
        display: Display::Bochs,
        monitor: Some("socket".into()),
        ..Machine::default()
    };
    let line = command_line(&machine);
    assert!(line.contains("-device bochs-display"), "{line}");
    assert!(
        line.contains("-device pvpanic -action panic=pause"),
        "{line}"
    );
    assert!(
        line.contains("-qmp unix:socket,server=on,wait=on"),
        "{line}"
    );
}

#[test]
fn nodes_share_cpus_and_memory() {
    let machine = Machine {
        cpus: 3,
        numa_nodes: 2,
        memory_mib: Some(129),
        ..Machine::default()
    };
    let line = command_line(&machine);
    assert!(line.contains("id=memory0,size=65M"), "{line}");
    assert!(
        line.contains("node,nodeid=0,memdev=memory0,cpus=0-1"),
        "{line}"
    );
    assert!(line.contains("id=memory1,size=64M"), "{line}");
    assert!(
        line.contains("node,nodeid=1,memdev=memory1,cpus=2"),
        "{line}"
    );
}

#[test]
fn accelerators_are_passed_on() {
    let kvm = Machine {
        accelerator: Accelerator::Kvm,
        ..Machine::default()
    };
    assert!(command_line(&kvm).contains("-accel kvm"));
    assert!(!command_line(&kvm).contains("icount"));
    let threads = Machine {
        instruction_count: InstructionCount::Off,
        ..Machine::default()
    };
    assert!(command_line(&threads).contains("-accel tcg,thread=multi"));
    let seeded = Machine {
        seed: Some(7),
        ..Machine::default()
    };
    assert!(command_line(&seeded).contains("-append seed=7"));
}
