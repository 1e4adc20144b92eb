//! The command line of the runner.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Parser};
use programs::cases;
use programs::entries::Entries;

use crate::build::Profile;
use crate::failure::Failure;
use crate::machine::{Accelerator, Debugger, Devices, Display, InstructionCount, MIB, Machine};
use crate::program::ProgramFile;

/// What `make run` reads when nobody names a file, relative to the repository.
pub const DEFAULT_INPUT: &str = "LICENSE";

/// What the name of every case has.
const IN_EVERY: &str = ".";
const DEMO_SECONDS: u64 = 60;
const OTHER_SECONDS: u64 = 600;
/// The word that makes the kernel measure what no program can.
pub const MEASURE: &str = "measure";
/// The word that makes the kernel check itself instead of starting programs, and with how behind it.
const SELF_CHECK: &str = "selfcheck";
/// What can be asked of the kernel by hand.
const KERNEL_WORDS: [&str; 6] = [
    MEASURE,
    SELF_CHECK,
    "selfcheck=shootdown",
    "selfcheck=guard",
    "selfcheck=panic",
    "selfcheck=canary",
];
/// Events of each CPU that a trace has room for, until they are written down.
const TRACE_SLOTS: u32 = 32_768;
/// The benchmark maps a region of 1 GiB whose pages are all present.
const BENCH_MEMORY_MIB: u64 = 3072;
const CPUS_MAX: i64 = 64;

const EXIT_STATUS: &str = "\
Exit status:
  0    all is well
  1    a check failed, or the machine did not do its work
  2    a wrong option, or a file that is missing or can't be used
  124  the machine was stopped at the time limit
With --exec it is the status of the program, 0 to 255, once the machine has run it.

Environment:
  ACCEL          the accelerator, as --accel
  HANDOVER_QEMU  the emulator, instead of qemu-system-x86_64 on the path";

/// Builds the Handover kernel and its programs, boots them in QEMU and checks what they did.
///
/// Without --exec, --suite, --lives, --list or --bench it shows the main job: a producer hands a file to a consumer
/// on another CPU through a ring, by Share, by CopyOnWrite and by Move, and every digest is compared with the one
/// computed on the host.
#[derive(Debug, Clone, Parser)]
#[command(name = "handover", version, after_help = EXIT_STATUS, max_term_width = 100)]
#[command(group = ArgGroup::new("job").args(["exec", "suite", "lives", "list", "bench"]))]
pub struct Options {
    /// The file that the producer hands over [default: LICENSE of the repository]
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    /// Adds a static x86_64 ELF program under NAME (default: the file's stem); repeatable
    #[arg(long = "program", value_name = "FILE[:NAME]")]
    pub programs: Vec<ProgramFile>,

    /// Runs a program of the initrd with arguments, or several with + between them, of which the last
    /// one decides, or with ; one after the other; quotes work as in a shell
    #[arg(long, value_name = "NAME ARG…")]
    pub exec: Option<String>,

    /// Runs the guest suites, or the cases whose id contains FILTER (one of several, with commas)
    #[arg(long, value_name = "FILTER", num_args = 0..=1)]
    pub suite: Option<Option<String>>,

    /// Has the cases that end processes at every entry into the kernel do so at each N-th, from the K-th on
    #[arg(long, value_name = "K/N", requires = "suite")]
    pub share: Option<Entries>,

    /// Ends processes that work together at every entry into the kernel that they make, in ROUNDS schedules [default: 1]
    #[arg(long, value_name = "ROUNDS", num_args = 0..=1, default_missing_value = "1")]
    pub lives: Option<u32>,

    /// Lists the cases of the guest suites
    #[arg(long)]
    pub list: bool,

    /// Measures the kernel paths and compares them with their limits
    #[arg(long)]
    pub bench: bool,

    /// Draws how costs grow with pages into docs/growth.svg
    #[arg(long, requires = "bench")]
    pub plot: bool,

    /// CPUs, 1 to 64 [default: 2; for --bench one run with 1 and one with 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=CPUS_MAX))]
    pub smp: Option<u32>,

    /// Memory, as 256M or 1G [default: what the initrd needs, at least 192M; for --bench 3G]
    #[arg(long, value_name = "SIZE", value_parser = parse_memory_mib)]
    pub memory: Option<u64>,

    /// NUMA nodes over which CPUs and memory are spread evenly [default: 1]
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true, value_parser = clap::value_parser!(u32).range(1..=CPUS_MAX))]
    pub numa: u32,

    /// What executes the machine
    #[arg(long, value_enum, env = "ACCEL", default_value = "tcg")]
    pub accel: Accelerator,

    /// QEMU's CPU model [default: max; for --bench max,-erms]
    #[arg(long, value_name = "MODEL")]
    pub cpu: Option<String>,

    /// The time limit [default: 60 for the demonstration, 600 for all else]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: Option<u64>,

    /// Seeds the schedule: the same number gives the same interleaving (with --icount on)
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// A word for the kernel's command line; repeatable
    #[arg(long = "kernel", value_name = "WORD", value_parser = KERNEL_WORDS)]
    pub kernel_words: Vec<String>,

    /// Gives the machine a display, and the program of --exec the resources of it
    #[arg(long)]
    pub display: bool,

    /// Gives the machine QEMU's educational device, and the program of --exec its registers and its interrupt
    #[arg(long)]
    pub edu: bool,

    /// Saves what the display shows when the machine ends, as PNG; with --display of itself
    #[arg(long, value_name = "FILE", conflicts_with_all = ["suite", "lives", "list", "bench", "gdb"])]
    pub screenshot: Option<PathBuf>,

    /// Writes what every CPU and thread did to FILE, for ui.perfetto.dev or chrome://tracing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["suite", "lives", "list", "bench"])]
    pub trace: Option<PathBuf>,

    /// Prints every system call with its arguments and its answer
    #[arg(long, conflicts_with_all = ["suite", "lives", "list", "bench"])]
    pub strace: bool,

    /// Stops before the first instruction and waits for gdb; no time limit
    #[arg(long, conflicts_with = "timeout")]
    pub gdb: bool,

    /// Makes instructions the clock, so that a run repeats exactly [default: on with tcg, off with --gdb]
    #[arg(long, value_enum, value_name = "on|off", num_args = 0..=1, default_missing_value = "on")]
    pub icount: Option<InstructionCount>,

    /// Builds the guest with all debug assertions (always so for --suite and --lives)
    #[arg(long)]
    pub checked: bool,

    /// Shows every serial line and the command line of QEMU
    #[arg(long)]
    pub verbose: bool,
}

/// What the machine is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Hand the input over in four ways.
    Demo,
    /// Run one program: its name and arguments.
    Exec(Vec<String>),
    /// Run the suites, or the cases that match, and of what is done at every entry a share.
    Suite(Option<String>, Option<Entries>),
    /// End processes at every entry into the kernel, in so many rounds.
    Lives(u32),
    /// Name the cases of the suites.
    List,
    /// Measure the kernel paths.
    Bench,
    /// Have the kernel check itself.
    SelfCheck,
}

impl Job {
    /// The arguments of `init` for this job.
    pub fn arguments(&self) -> Vec<String> {
        let words: Vec<String> = match self {
            Self::Demo => vec!["demo".into()],
            Self::Exec(words) => [vec!["exec".into()], words.clone()].concat(),
            Self::Suite(None, Some(share)) => {
                vec!["suite".into(), IN_EVERY.into(), share.to_string()]
            }
            Self::Suite(filter, share) => {
                let words = std::iter::once("suite".to_owned()).chain(filter.clone());
                words.chain(share.map(|share| share.to_string())).collect()
            }
            Self::Lives(rounds) => vec!["lives".into(), rounds.to_string()],
            Self::List => vec!["suite".into(), "--list".into()],
            Self::Bench => vec!["bench".into()],
            Self::SelfCheck => Vec::new(),
        };
        // As for every program, the first is its name.
        std::iter::once("init".to_owned()).chain(words).collect()
    }
}

impl Options {
    /// The arguments of `init` for a job: with a trace of it, if one is asked for.
    pub fn arguments(&self, job: &Job) -> Vec<String> {
        let mut words = job.arguments();
        if self.trace.is_some() || self.strace {
            // Behind its name.
            words.splice(1..1, ["trace".to_owned(), TRACE_SLOTS.to_string()]);
        }
        words
    }

    /// What the machine is to do.
    ///
    /// # Errors
    /// A usage failure when the words of `--exec` can't be taken apart or are none, and when no case
    /// matches the filter of `--suite`.
    pub fn job(&self) -> Result<Job, Failure> {
        if self
            .kernel_words
            .iter()
            .any(|word| word.starts_with(SELF_CHECK))
        {
            let programs = self.exec.is_some() || self.suite.is_some() || self.lives.is_some();
            return match programs || self.list || self.bench {
                true => Err(Failure::usage(
                    "--kernel selfcheck starts no programs: it goes without --exec, --suite, --lives, --list and --bench",
                )),
                false => Ok(Job::SelfCheck),
            };
        }
        if let Some(line) = &self.exec {
            let words = shell_words::split(line)
                .map_err(|error| Failure::usage(format!("--exec: {error} in: {line}")))?;
            if words.is_empty() {
                return Err(Failure::usage("--exec needs the name of a program"));
            }
            return Ok(Job::Exec(words));
        }
        if let Some(rounds) = self.lives {
            return Ok(Job::Lives(rounds));
        }
        Ok(match &self.suite {
            Some(Some(filter)) if !cases::are_some(filter) => {
                return Err(Failure::usage(format!(
                    "--suite: no case has `{filter}` in its id; --list shows them all"
                )));
            }
            Some(filter) => Job::Suite(filter.clone(), self.share),
            None if self.list => Job::List,
            None if self.bench => Job::Bench,
            None => Job::Demo,
        })
    }

    /// How the guest is compiled for `job`.
    pub fn profile(&self, job: &Job) -> Profile {
        match job {
            Job::Suite(..) | Job::Lives(_) | Job::List => Profile::GuestChecked,
            _ if self.checked => Profile::GuestChecked,
            _ => Profile::Guest,
        }
    }

    /// The machine for `job`.
    ///
    /// # Errors
    /// A usage failure when options exclude one another.
    pub fn machine(&self, job: &Job) -> Result<Machine, Failure> {
        let counts = self.icount == Some(InstructionCount::On);
        if counts && self.accel == Accelerator::Kvm {
            return Err(Failure::usage(
                "--icount on needs --accel tcg: KVM can't count instructions",
            ));
        }
        if *job == Job::Bench
            && (self.accel == Accelerator::Kvm || self.icount == Some(InstructionCount::Off))
        {
            return Err(Failure::usage(
                "--bench counts instructions: it needs --accel tcg and --icount on",
            ));
        }
        if *job == Job::Bench && self.gdb {
            return Err(Failure::usage("--bench can't be measured under --gdb"));
        }
        if self.plot && self.smp.is_some_and(|cpus| cpus != 1) {
            return Err(Failure::usage(
                "--plot draws what is measured on one CPU: it needs --smp 1, or no --smp",
            ));
        }
        let default_count = match self.accel {
            Accelerator::Tcg if !self.gdb => InstructionCount::On,
            _ => InstructionCount::Off,
        };
        let cpus = self.smp.unwrap_or(2);
        if self.numa > cpus {
            return Err(Failure::usage(format!(
                "--numa {}: a node needs a CPU, and there are {cpus}",
                self.numa
            )));
        }
        let default_seconds = if *job == Job::Demo {
            DEMO_SECONDS
        } else {
            OTHER_SECONDS
        };
        let default_cpu = if *job == Job::Bench {
            "max,-erms"
        } else {
            "max"
        };
        let default_memory = (*job == Job::Bench).then_some(BENCH_MEMORY_MIB);
        let mut kernel_words = self.kernel_words.clone();
        if *job == Job::Bench {
            kernel_words.push(MEASURE.to_owned());
        }
        let seconds = self.timeout.unwrap_or(default_seconds);
        let machine = Machine {
            cpus,
            memory_mib: self.memory.or(default_memory),
            numa_nodes: self.numa,
            accelerator: self.accel,
            cpu_model: self.cpu.clone().unwrap_or_else(|| default_cpu.into()),
            instruction_count: self.icount.unwrap_or(default_count),
            seed: self.seed,
            kernel_words,
            display: if self.display || self.screenshot.is_some() {
                Display::Bochs
            } else {
                Display::None
            },
            devices: if self.edu {
                Devices::Edu
            } else {
                Devices::None
            },
            monitor: None,
            trace: None,
            debugger: if self.gdb {
                Debugger::Waits
            } else {
                Debugger::None
            },
            time_limit: (!self.gdb).then(|| Duration::from_secs(seconds)),
        };
        Ok(match job {
            Job::Suite(..) | Job::Lives(_) => machine.for_suite(),
            _ => machine,
        })
    }
}

/// Reads a size like `256M` or `1G` into MiB; a plain number is MiB, as for QEMU.
fn parse_memory_mib(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "M" | "MB" | "MIB" => 1,
        "G" | "GB" | "GIB" => 1024,
        "K" | "KB" | "KIB" => {
            let kib: u64 = digits
                .parse()
                .map_err(|_| "a size like 256M or 1G is needed")?;
            let whole = kib.is_multiple_of(MIB / 1024) && kib > 0;
            return if whole {
                Ok(kib / 1024)
            } else {
                Err("whole MiB are needed".into())
            };
        }
        _ => return Err("a size like 256M or 1G is needed".into()),
    };
    let count: u64 = digits
        .parse()
        .map_err(|_| "a size like 256M or 1G is needed")?;
    match count.checked_mul(unit) {
        Some(mib @ 16..=4_194_304) => Ok(mib),
        _ => Err("between 16M and 4096G is possible".into()),
    }
}
