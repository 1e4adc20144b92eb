//! The runner: from options to an exit status.

use std::cell::OnceCell;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::bench::{self, Measured};
use crate::boot::Boot;
use crate::build::{self, Guest};
use crate::console::{self, Progress, bad, complain, good, say};
use crate::demo;
use crate::failure::{EXIT_FAILED, Failure};
use crate::growth::Growth;
use crate::machine::{Debugger, MIB, Machine};
use crate::options::{DEFAULT_INPUT, Job, Options};
use crate::plot;
use crate::program::ProgramFile;
use crate::qemu::{Qemu, Run};
use crate::screen::Screen;
use crate::strace::Strace;
use crate::suite;
use crate::symbolise::Symboliser;
use crate::timeline::Sink;
use crate::trace::Tracer;

/// The largest input; the initrd must lie in low memory beside everything else.
const INPUT_LIMIT: u64 = 1024 * MIB;

/// Does what the options ask for and answers the exit status.
///
/// # Errors
/// One line about why it could not be done, with the exit status.
pub fn run(options: &Options) -> Result<u8, Failure> {
    let job = options.job()?;
    let machine = options.machine(&job)?;
    let input = read_input(options.input.as_deref())?;
    let programs = read_programs(&options.programs)?;
    let outputs = options.screenshot.iter().chain(&options.trace);
    outputs.map(PathBuf::as_path).try_for_each(check_writable)?;
    let qemu = Qemu::find()?;
    let guest = build::guest(options.profile(&job))?;
    check_names(&job, &programs, &guest)?;
    let prepared = Prepared {
        options,
        qemu,
        guest,
        programs,
        input,
    };
    match &job {
        Job::Demo => prepared.demo(&job, &machine),
        Job::Exec(_) | Job::Lives(_) => prepared.boot(&job, &machine, &|_| None)?.exit_status(),
        Job::Suite(..) | Job::List => prepared.suite(&job, &machine),
        Job::Bench => prepared.bench(&job, &machine),
        Job::SelfCheck => prepared.self_check(&job, &machine),
    }
}

/// Everything that was read and built before the first boot.
struct Prepared<'a> {
    options: &'a Options,
    qemu: Qemu,
    guest: Guest,
    programs: Vec<(ProgramFile, Vec<u8>)>,
    input: Vec<u8>,
}

impl Prepared<'_> {
    fn demo(&self, job: &Job, machine: &Machine) -> Result<u8, Failure> {
        let run = self.boot(job, machine, &|_| None)?;
        let status = run.exit_status()?;
        let verdict = demo::judge(&run.transcript, &self.input, machine);
        say(&format!("{}\n{}", verdict.table, verdict.fault));
        let size = demo::grouped(self.input.len() as u64);
        let success = format!("handed over: {size} bytes arrived intact in all four ways");
        Ok(conclude(&success, verdict.problems, status))
    }

    fn suite(&self, job: &Job, machine: &Machine) -> Result<u8, Failure> {
        let run = self.boot(job, machine, &suite::case_line)?;
        let status = run.exit_status()?;
        if *job == Job::List {
            return Ok(status);
        }
        Ok(conclude(
            &suite::summary(&run.transcript),
            suite::judge(&run.transcript),
            status,
        ))
    }

    fn self_check(&self, job: &Job, machine: &Machine) -> Result<u8, Failure> {
        let run = self.boot(job, machine, &|_| None)?;
        match run.passed_self_check() {
            true => Ok(conclude("the kernel passed its own check", Vec::new(), 0)),
            false => run.exit_status(),
        }
    }

    fn bench(&self, job: &Job, machine: &Machine) -> Result<u8, Failure> {
        let (mut measured, mut growth) = (Measured::default(), Growth::default());
        let cpu_counts = match self.options.smp {
            Some(cpus) => vec![cpus],
            None => vec![1, 2],
        };
        let mut problems = Vec::new();
        for cpus in cpu_counts {
            // What two CPUs execute by turns is no sequence that a figure could be taken from.
            let tracer = (cpus == 1)
                .then(|| Tracer::start(&self.guest))
                .transpose()?;
            let machine = Machine {
                cpus,
                trace: tracer.as_ref().map(Tracer::directory),
                ..machine.clone()
            };
            let run = self.boot(job, &machine, &|line| bench::begins(line, cpus));
            let counted = tracer.map(Tracer::finish);
            let run = run?;
            let status = run.exit_status()?;
            if status != 0 {
                problems.push(format!("on {cpus} CPUs init ended with status {status}"));
            }
            measured.add(cpus, &run.transcript);
            growth.add(&run.transcript);
            if let Some(counted) = counted {
                if counted.is_empty() {
                    problems.push("no dear instructions were counted: QEMU can't be traced".into());
                }
                measured.add_counts(&run.transcript, &counted);
            }
        }
        let comparison = measured.compare(self.options.verbose);
        say(&comparison.table);
        let mut files = vec![bench::write("guest.json", &measured.to_json())?];
        problems.extend(comparison.problems);
        if !growth.is_empty() {
            say(&format!("\n{}\n", growth.tables()));
            files.push(bench::write("growth.json", &growth.to_json())?);
            problems.extend(growth.problems());
        }
        if self.options.plot {
            files.push(plot::write(&growth)?);
        }
        let files: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
        Ok(conclude(
            &format!("no limit was missed; figures in {}", files.join(", ")),
            problems,
            0,
        ))
    }

    /// Boots once and shows what the machine says: lines for the person, and what `present` makes
    /// of the others.
    fn boot(
        &self,
        job: &Job,
        machine: &Machine,
        present: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Run, Failure> {
        let screen = self.options.screenshot.as_deref().map(Screen::save_to);
        let screen = screen.transpose()?;
        let timeline = self.options.trace.as_deref().map(Sink::create);
        let timeline = timeline.transpose()?;
        let mut strace = self.options.strace.then(Strace::default);
        let machine = &Machine {
            monitor: screen.as_ref().map(Screen::socket),
            ..machine.clone()
        };
        let boot = Boot {
            qemu: &self.qemu,
            guest: &self.guest,
            machine,
            programs: &self.programs,
            input: &self.input,
            arguments: &self.options.arguments(job),
        };
        if machine.debugger == Debugger::Waits {
            let kernel = self.guest.kernel.display();
            say(&format!(
                "QEMU waits; attach with: gdb {kernel} -ex 'target remote localhost:1234'"
            ));
        }
        let verbose = self.options.verbose;
        let mut progress = Progress::start(format!(
            "booting {} …",
            console::counted(machine.cpus, "CPU")
        ));
        let symboliser = OnceCell::new();
        let announce = |command: &str| {
            if verbose {
                complain(&format!("+ {command}"));
            }
        };
        let run = boot.run(announce, &mut |line| {
            if let Some(said) = strace.as_mut().and_then(|strace| strace.feed(line)) {
                for text in said {
                    progress.finish();
                    say(&text);
                }
                return;
            }
            if line.starts_with("  at 0x") {
                let names = symboliser.get_or_init(|| Symboliser::new(&self.guest.kernel));
                return say(&names.line(line).unwrap_or_else(|| line.to_owned()));
            }
            if let Some(text) = present(line) {
                progress.finish();
                say(&text);
            } else if verbose || !line.starts_with('#') {
                progress.finish();
                say(line);
            }
        })?;
        // A machine that was stopped has not told the end of its trace.
        for text in strace.iter_mut().flat_map(Strace::finish) {
            say(&text);
        }
        if let Some(timeline) = timeline {
            let lines = run.transcript.lines().iter().map(String::as_str);
            say(&timeline.finish(lines)?);
        }
        if let Some(screen) = screen {
            // A machine that was stopped at its time limit has no last screen, and says so itself.
            let saved = screen.finish();
            if run.exit_status().is_ok() {
                saved?;
            }
        }
        Ok(run)
    }
}

/// Prints the verdict and answers the exit status.
fn conclude(success: &str, mut problems: Vec<String>, init_status: u8) -> u8 {
    if init_status != 0 && problems.is_empty() {
        problems.push(format!("init ended with status {init_status}"));
    }
    if problems.is_empty() {
        say(&format!("{} {success}", good("ok:")));
        return 0;
    }
    for problem in problems {
        complain(&format!("{} {problem}", bad("failed:")));
    }
    EXIT_FAILED
}

fn read_input(path: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let path = path.map_or_else(
        || build::repository().join(DEFAULT_INPUT),
        Path::to_path_buf,
    );
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(INPUT_LIMIT + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            Failure::usage(format!(
                "the input {} can't be read: {error}",
                path.display()
            ))
        })?;
    if bytes.len() as u64 > INPUT_LIMIT {
        return Err(Failure::usage(format!(
            "the input {} is larger than 1 GiB",
            path.display()
        )));
    }
    Ok(bytes)
}

/// Finds out before anything has run for nothing.
fn check_writable(path: &Path) -> Result<(), Failure> {
    let file = File::options().append(true).create(true).open(path);
    let why = |error| Failure::usage(format!("{} can't be written: {error}", path.display()));
    file.map(drop).map_err(why)
}

fn read_programs(files: &[ProgramFile]) -> Result<Vec<(ProgramFile, Vec<u8>)>, Failure> {
    files
        .iter()
        .map(|file| Ok((file.clone(), file.read()?)))
        .collect()
}

/// Checks that no name is given twice and that the program to run is there.
fn check_names(
    job: &Job,
    programs: &[(ProgramFile, Vec<u8>)],
    guest: &Guest,
) -> Result<(), Failure> {
    let names: Vec<&str> = programs
        .iter()
        .map(|(file, _)| file.name.as_str())
        .collect();
    for (index, name) in names.iter().enumerate() {
        if guest.programs.contains_key(*name) || names[..index].contains(name) {
            return Err(Failure::usage(format!(
                "there is already a program {name}: choose another with --program FILE:NAME"
            )));
        }
    }
    let Job::Exec(words) = job else {
        return Ok(());
    };
    for command in words.split(|word| word == "+") {
        let Some(name) = command.first() else {
            return Err(Failure::usage(
                "--exec needs the name of a program, before and after each +",
            ));
        };
        if !names.contains(&name.as_str()) && !guest.programs.contains_key(name) {
            let ours = guest.programs.keys().map(String::as_str);
            let known: Vec<&str> = ours.chain(names).collect();
            return Err(Failure::usage(format!(
                "--exec: there is no program {name}, only {}; add it with --program",
                known.join(", ")
            )));
        }
    }
    Ok(())
}

/// Says why the runner gives up.
pub fn report(failure: &Failure) {
    console::complain(&format!("handover: {failure}"));
}
