//! Random steps, changed so that most of them mean something: a program is walked through once on the
//! assumption that every step succeeds, and registers are exchanged for ones that are likely to hold
//! what the step is about. It is a plain function of the steps, so a shorter program stays one.

mod offers;

use std::collections::VecDeque;

use abi::Mode;

use super::{Load, REGISTERS, RINGS, Step, TOKENS};
use crate::{PROCESSES, Program};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Region,
    Notification,
    End(usize, usize),
    RingEnd(usize, usize),
    /// Of the process in a place.
    Process(usize),
}

/// What is likely to be where.
struct Likely {
    what: [[Option<Kind>; REGISTERS]; PROCESSES],
    ended: [bool; PROCESSES],
    /// What was sent to the ends of each channel.
    queues: Vec<[VecDeque<Vec<Kind>>; 2]>,
    rings: usize,
    /// Whether nobody has begun in a place since the beginning.
    first: [bool; PROCESSES],
    offers: [Option<offers::Offer>; TOKENS],
}

/// Now and then a step means what it says, however senseless.
const AS_IT_IS: u64 = 7;

impl Likely {
    fn new() -> Likely {
        let mut likely = Likely {
            what: Default::default(),
            ended: [false; PROCESSES],
            queues: Vec::new(),
            rings: 0,
            first: [true; PROCESSES],
            offers: Default::default(),
        };
        for (place, by) in [(1, 0), (2, 0), (2, 1)] {
            likely.connect(by, place, place - 1, by);
        }
        likely
    }

    fn channel(&mut self) -> [Kind; 2] {
        self.queues.push(Default::default());
        let channel = self.queues.len() - 1;
        [0, 1].map(|side| Kind::End(channel, side))
    }

    fn connect(&mut self, by: usize, place: usize, mine: usize, theirs: usize) {
        let [one, other] = self.channel();
        self.what[by][mine] = Some(one);
        self.what[place][theirs] = Some(other);
        self.rings += 1;
        self.what[by][mine + RINGS] = Some(Kind::RingEnd(self.rings, 0));
        self.what[place][theirs + RINGS] = Some(Kind::RingEnd(self.rings, 1));
    }

    fn exists(&self, place: usize, register: usize) -> Option<Kind> {
        self.what[place][register].filter(|_| !self.ended[place])
    }

    /// The register nearest to the one that was named that has what is wanted, and its process.
    fn nearest(
        &self,
        place: &mut usize,
        register: &mut usize,
        wanted: impl Fn(Kind) -> bool,
    ) -> Option<Kind> {
        for step in 0..PROCESSES * REGISTERS {
            let (by, rest) = (step / REGISTERS, step % REGISTERS);
            let at = ((*place + by) % PROCESSES, (*register + rest) % REGISTERS);
            if let Some(kind) = self.exists(at.0, at.1).filter(|kind| wanted(*kind)) {
                (*place, *register) = at;
                return Some(kind);
            }
        }
        None
    }

    fn sent_to(&self, channel: usize, side: usize) -> &VecDeque<Vec<Kind>> {
        &self.queues[channel][side]
    }

    /// A capability of the sender that can go over a channel.
    fn fit_load(&self, place: usize, channel: usize, load: Load, other: Option<usize>) -> Load {
        let Load::Some(mode, register) = load else {
            return load;
        };
        let fits = |at: &usize| match self.what[place][*at] {
            Some(Kind::End(sent, _)) => sent > channel,
            Some(kind) => can_go(kind, mode),
            None => false,
        };
        let mut near = (0..REGISTERS).map(|step| (register + step) % REGISTERS);
        match near.find(|at| fits(at) && Some(*at) != other) {
            Some(at) => Load::Some(mode, at),
            None => Load::None,
        }
    }

    /// A place where a process runs, from one on.
    fn living(&self, place: usize) -> Option<usize> {
        let mut near = (0..PROCESSES).map(|by| (place + by) % PROCESSES);
        near.find(|place| !self.ended[*place])
    }

    /// The step with other registers, or `None` when none fit.
    fn fit(&self, mut step: Step) -> Option<Step> {
        match &mut step {
            Step::Region { process, .. }
            | Step::Notification { process, .. }
            | Step::Channel { process, .. }
            | Step::Ring { process, .. } => {
                *process = self.living(*process)?;
            }
            Step::Know { process, of, .. } => {
                *process = self.living(*process)?;
                *of = self.living(*of)?;
            }
            Step::Derive { process, from, .. } | Step::Narrow { process, from, .. } => {
                self.nearest(process, from, |_| true)?;
            }
            Step::Drop { process, handle }
            | Step::Revoke { process, handle }
            | Step::RevokeAll { process, handle }
            | Step::Reduce {
                process, handle, ..
            } => {
                self.nearest(process, handle, |_| true)?;
            }
            Step::Same {
                process,
                one,
                other,
            } => {
                self.nearest(process, one, |_| true)?;
                let mut near = (0..REGISTERS).map(|step| (*other + step) % REGISTERS);
                *other = near.find(|at| self.exists(*process, *at).is_some())?;
            }
            Step::Grant { .. } | Step::Accept { .. } | Step::Cancel { .. } => {
                return self.fit_offer(step);
            }
            Step::Send {
                process,
                end,
                word,
                first,
                second,
            } if *word % 10 != AS_IT_IS => {
                let room = |kind| match kind {
                    Kind::End(channel, side) => self.sent_to(channel, 1 - side).len() < 2,
                    _ => false,
                };
                let Some(Kind::End(channel, _)) = self.nearest(process, end, room) else {
                    return None;
                };
                *first = self.fit_load(*process, channel, *first, None);
                let taken = first.get().map(|(_, register)| register);
                *second = self.fit_load(*process, channel, *second, taken);
            }
            Step::Receive { process, end, .. } => {
                self.nearest(process, end, |kind| match kind {
                    Kind::End(channel, side) => !self.sent_to(channel, side).is_empty(),
                    _ => false,
                })?;
            }
            Step::Signal {
                process, handle, ..
            }
            | Step::Poll { process, handle } => {
                self.nearest(process, handle, |kind| kind == Kind::Notification)?;
            }
            Step::Start { process, by, .. } => {
                let mut all = 0..PROCESSES;
                *process = all.clone().find(|place| self.ended[*place])?;
                let at = *by;
                *by = all.find(|place| (*place + at) % 2 == 0 && !self.ended[*place])?;
            }
            Step::Send { .. } | Step::Exit { .. } | Step::Pass { .. } => {}
        }
        Some(step)
    }

    /// Where nothing is to work on, something is made, or used that there is.
    fn instead(&self, turn: usize) -> Option<Step> {
        let (process, handle) = (turn % PROCESSES, turn % REGISTERS);
        let made = match turn % 5 {
            0 => Step::Channel {
                process,
                first: 4,
                second: 5,
                capacity: 2,
            },
            1 => Step::Notification { process, handle },
            2 => Step::Signal {
                process,
                handle,
                bits: 2,
            },
            3 => Step::Poll { process, handle },
            _ => Step::Know {
                process,
                of: (process + 1) % PROCESSES,
                handle,
            },
        };
        self.fit(made)
    }

    /// What is likely after a step.
    fn note(&mut self, step: Step) {
        match step {
            Step::Region { process, handle } => self.what[process][handle] = Some(Kind::Region),
            Step::Notification { process, handle } => {
                self.what[process][handle] = Some(Kind::Notification);
            }
            Step::Channel {
                process,
                first,
                second,
                ..
            } => {
                let [one, other] = self.channel();
                self.what[process][first] = Some(one);
                self.what[process][second] = Some(other);
            }
            Step::Ring {
                process,
                first,
                second,
            } => {
                self.rings += 1;
                self.what[process][first] = Some(Kind::RingEnd(self.rings, 0));
                self.what[process][second] = Some(Kind::RingEnd(self.rings, 1));
            }
            Step::Know {
                process,
                of,
                handle,
            } => self.what[process][handle] = Some(Kind::Process(of)),
            Step::Derive {
                process,
                from,
                handle,
                ..
            }
            | Step::Narrow {
                process,
                from,
                handle,
                ..
            } => {
                let from = self.what[process][from];
                if !matches!(from, Some(Kind::RingEnd(..))) {
                    self.what[process][handle] = from;
                }
            }
            Step::Drop { process, handle } | Step::RevokeAll { process, handle } => {
                self.what[process][handle] = None;
            }
            Step::Grant { .. } | Step::Accept { .. } | Step::Cancel { .. } => self.note_offer(step),
            Step::Send {
                process,
                end,
                first,
                second,
                ..
            } => {
                let Some(Kind::End(channel, side)) = self.exists(process, end) else {
                    return;
                };
                let mut carried = Vec::new();
                for (mode, register) in [first, second].into_iter().filter_map(Load::get) {
                    carried.extend(self.what[process][register]);
                    if mode == Mode::Move {
                        self.what[process][register] = None;
                    }
                }
                self.queues[channel][1 - side].push_back(carried);
            }
            Step::Receive {
                process,
                end,
                first,
                second,
            } => {
                let Some(Kind::End(channel, side)) = self.exists(process, end) else {
                    return;
                };
                let carried = self.queues[channel][side].pop_front();
                for (kind, register) in carried.unwrap_or_default().into_iter().zip([first, second])
                {
                    self.what[process][register] = Some(kind);
                }
            }
            Step::Exit { process } => {
                self.ended[process] = true;
                self.what[process] = Default::default();
            }
            Step::Start {
                process,
                by,
                mine,
                theirs,
            } => {
                self.ended[process] = false;
                self.first[process] = false;
                self.connect(by, process, mine, theirs);
            }
            Step::Revoke { .. }
            | Step::Reduce { .. }
            | Step::Same { .. }
            | Step::Pass { .. }
            | Step::Signal { .. }
            | Step::Poll { .. } => {}
        }
    }
}

/// Whether something can be handed over in a way.
fn can_go(kind: Kind, mode: Mode) -> bool {
    match kind {
        Kind::Region => true,
        Kind::Notification | Kind::End(..) | Kind::Process(_) => mode != Mode::CopyOnWrite,
        Kind::RingEnd(..) => mode == Mode::Move,
    }
}

/// A program of these steps or of ones like them.
pub(super) fn repair(steps: impl IntoIterator<Item = Step>) -> Program<Step> {
    let mut likely = Likely::new();
    let mut program = Program::default();
    for step in steps {
        let fitting = likely.fit(step).or_else(|| likely.instead(program.0.len()));
        if let Some(step) = fitting {
            likely.note(step);
            program.0.push(step);
        }
    }
    program
}
