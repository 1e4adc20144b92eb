//! The machine to emulate, and the QEMU command line that makes it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use crate::trace;

/// One mebibyte, in bytes.
pub const MIB: u64 = 1 << 20;

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Accelerator {
    /// QEMU's own translator: works everywhere and can count instructions.
    Tcg,
    /// The host's virtualisation.
    Kvm,
}

/// How the instructions of the guest relate to its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InstructionCount {
    /// One host thread; one time-stamp tick is one instruction, and a run repeats exactly.
    On,
    /// One host thread for each CPU; time is the host's.
    Off,
}

/// A machine: CPUs, memory, accelerator and time limit.
#[derive(Debug, Clone)]
pub struct Machine {
    /// How many CPUs it has.
    pub cpus: u32,
    /// Its memory in MiB; without it, as much as the initrd needs (see [`memory_for_initrd`]).
    pub memory_mib: Option<u64>,
    /// Over how many NUMA nodes CPUs and memory are spread evenly; 1 means no NUMA.
    pub numa_nodes: u32,
    /// What executes it.
    pub accelerator: Accelerator,
    /// QEMU's name of the CPU model, with features.
    pub cpu_model: String,
    /// Whether instructions are the clock. Only [`Accelerator::Tcg`] can count.
    pub instruction_count: InstructionCount,
    /// The seed of the schedule, passed on the kernel's command line.
    pub seed: Option<u64>,
    /// Further words for the kernel's command line.
    pub kernel_words: Vec<String>,
    /// What it shows pictures on.
    pub display: Display,
    /// Which devices it has besides.
    pub devices: Devices,
    /// The socket of QEMU's monitor. With one, the machine stops at its end until the monitor says
    /// go; see [`crate::screen`].
    pub monitor: Option<PathBuf>,
    /// The directory to which it is traced: it waits for [`crate::trace`], and logs there.
    pub trace: Option<PathBuf>,
    /// Whether QEMU waits for a debugger on TCP port 1234.
    pub debugger: Debugger,
    /// How long it may run; without it, for ever.
    pub time_limit: Option<Duration>,
}

/// What a machine shows pictures on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Display {
    /// Nothing.
    None,
    /// QEMU's `bochs-display`: a framebuffer on the PCI bus.
    Bochs,
}

/// What a machine has for drivers to try themselves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    /// Nothing.
    None,
    /// QEMU's `edu`: registers and an interrupt on the PCI bus.
    Edu,
}

/// Whether a machine waits for a debugger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Debugger {
    /// It starts at once.
    None,
    /// It stands still until a debugger on TCP port 1234 says go.
    Waits,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            cpus: 2,
            memory_mib: None,
            numa_nodes: 1,
            accelerator: Accelerator::Tcg,
            cpu_model: "max".into(),
            instruction_count: InstructionCount::On,
            seed: None,
            kernel_words: Vec::new(),
            display: Display::None,
            devices: Devices::None,
            monitor: None,
            trace: None,
            debugger: Debugger::None,
            time_limit: Some(Duration::from_secs(600)),
        }
    }
}

/// The memory that a machine needs for an initrd of this many bytes, in MiB: the file itself and
/// three copies beside 128 MiB, of which the stacks of a hundred processes take most, in steps of 64 MiB.
pub fn memory_for_initrd(initrd_bytes: u64) -> u64 {
    let needed = 128 * MIB + 4 * initrd_bytes;
    needed.next_multiple_of(64 * MIB) / MIB
}

impl Machine {
    /// The same with the devices that cases of the suite drive.
    #[must_use]
    pub fn for_suite(self) -> Self {
        Self {
            display: Display::Bochs,
            devices: Devices::Edu,
            ..self
        }
    }

    /// The arguments for QEMU that boot `kernel` with an `initrd` of `initrd_bytes` bytes.
    pub fn arguments(&self, kernel: &Path, initrd: &Path, initrd_bytes: u64) -> Vec<OsString> {
        let memory_mib = self
            .memory_mib
            .unwrap_or_else(|| memory_for_initrd(initrd_bytes));
        let mut arguments = Vec::new();
        let mut push = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        push(&["-machine", "q35"]);
        match (self.accelerator, self.instruction_count) {
            (Accelerator::Kvm, _) => push(&["-accel", "kvm"]),
            (Accelerator::Tcg, InstructionCount::Off) => push(&["-accel", "tcg,thread=multi"]),
            (Accelerator::Tcg, InstructionCount::On) => {
                push(&[
                    "-accel",
                    "tcg,thread=single",
                    "-icount",
                    "shift=0,sleep=off",
                ]);
            }
        }
        push(&["-cpu", &self.cpu_model, "-smp", &self.cpus.to_string()]);
        push(&["-m", &format!("{memory_mib}M")]);
        if self.numa_nodes > 1 {
            for words in numa_arguments(self.numa_nodes, self.cpus, memory_mib) {
                push(&[&words.0, &words.1]);
            }
        }
        push(&[
            "-display",
            "none",
            "-net",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
        ]);
        push(&["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        // Without this, every machine has an adapter that nobody uses.
        push(&["-vga", "none"]);
        if self.display == Display::Bochs {
            push(&["-device", "bochs-display"]);
        }
        if self.devices == Devices::Edu {
            push(&["-device", "edu"]);
        }
        if let Some(socket) = &self.monitor {
            let socket = format!("unix:{},server=on,wait=on", socket.display());
            push(&[
                "-device",
                "pvpanic",
                "-action",
                "panic=pause",
                "-qmp",
                &socket,
            ]);
        }
        if let Some(directory) = &self.trace {
            let socket = trace::socket(directory);
            let socket = format!("unix:{},server=on,wait=off", socket.display());
            let log = trace::log(directory);
            push(&["-gdb", &socket, "-S", "-D", &log.to_string_lossy()]);
        }
        if self.debugger == Debugger::Waits {
            push(&["-s", "-S"]);
        }
        let seed = self.seed.map(|seed| format!("seed={seed}"));
        let words: Vec<String> = self.kernel_words.iter().cloned().chain(seed).collect();
        if !words.is_empty() {
            push(&["-append", &words.join(" ")]);
        }
        arguments.extend([
            "-kernel".into(),
            kernel.into(),
            "-initrd".into(),
            initrd.into(),
        ]);
        arguments
    }
}

/// Spreads CPUs and memory over nodes; the first ones get what does not divide evenly.
fn numa_arguments(nodes: u32, cpus: u32, memory_mib: u64) -> Vec<(String, String)> {
    let mut arguments = Vec::new();
    let mut next_cpu = 0;
    for node in 0..nodes {
        let spare = u64::from(u64::from(node) < memory_mib % u64::from(nodes));
        let node_mib = memory_mib / u64::from(nodes) + spare;
        let node_cpus = cpus / nodes + u32::from(node < cpus % nodes);
        arguments.push((
            "-object".into(),
            format!("memory-backend-ram,id=memory{node},size={node_mib}M"),
        ));
        let range = match node_cpus {
            0 => String::new(),
            1 => format!(",cpus={next_cpu}"),
            _ => format!(",cpus={next_cpu}-{}", next_cpu + node_cpus - 1),
        };
        next_cpu += node_cpus;
        arguments.push((
            "-numa".into(),
            format!("node,nodeid={node},memdev=memory{node}{range}"),
        ));
    }
    arguments
}
