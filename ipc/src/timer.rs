//! Timers: bits of a notification that are set at a time, once or again and again.
//!
//! The truth about a timer is its schedule, under its own lock. Each CPU has a queue of
//! [alarms](crate::alarms), which say when a timer is to be looked at: one that comes too early finds
//! nothing to do. So a queue is locked for a few steps only, and setting a timer, its expiry on another CPU and its
//! end race for the lock of the timer alone. Bits are set under it: when a timer was stopped, set
//! anew or dropped, none comes any more.
//!
//! A periodic timer goes off at its first deadline and at multiples of its period from there. What was
//! missed is made up for by one expiry.
//!
//! Lock ranks: lineage when a timer is set, Timers, then those of a notification; Alarms above both.

use alloc::sync::Arc;

use abi::limits::MIN_TIMER_PERIOD;
use abi::{Error, Handle, ObjectKind, Rights};
use mm::CpuId;
use mm::lock::{Lock, Rank};

use crate::alarms::{Alarms, Key, Place};
use crate::bell::Bell;
use crate::object::PAYLOAD_BYTES;
use crate::submission::Told;
use crate::{Counted, Domain, Ipc, Payload, Platform, SubmissionRing, Traffic};

/// The time that never comes.
const NEVER: u64 = u64::MAX;

/// The timers of a CPU, by their times.
pub(crate) type TimerQueue<P> = Alarms<Arc<Timer<P>>>;

/// Sets bits of a notification at a time.
pub struct Timer<P: Platform> {
    action: Action<P>,
    schedule: Lock<Schedule<P>>,
}

/// What it does.
enum Action<P: Platform> {
    Ring(Bell<P>),
    /// Has an operation of a submission ring looked at.
    Note(Arc<SubmissionRing<P>>, u32),
}

struct Schedule<P: Platform> {
    /// When it goes off next.
    next_ns: u64,
    /// 0: once.
    period_ns: u64,
    /// Where its alarm is armed.
    armed: Option<(CpuId, Key)>,
    messages: u64,
    /// For its alarm. Neither here nor armed while somebody takes it out of a queue, who looks at
    /// the schedule next.
    place: Option<Place<Arc<Timer<P>>>>,
}

impl<P: Platform> Timer<P> {
    fn new(action: Action<P>) -> Timer<P> {
        const {
            let place = Place::<Arc<Timer<P>>>::BYTES;
            assert!(size_of::<Timer<P>>() + place + 32 <= PAYLOAD_BYTES);
        }
        Timer {
            action,
            schedule: Lock::new(
                Rank::Timers,
                Schedule {
                    next_ns: NEVER,
                    period_ns: 0,
                    armed: None,
                    messages: 0,
                    place: Some(Place::new()),
                },
            ),
        }
    }

    /// How often it has gone off.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            messages: self.schedule.lock().messages,
            ..Traffic::NONE
        }
    }
}

impl<P: Platform> core::fmt::Debug for Timer<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Timer").finish_non_exhaustive()
    }
}

/// The first time after `now_ns` at which a timer goes off that went off at `at_ns`.
pub fn following_ns(at_ns: u64, period_ns: u64, now_ns: u64) -> u64 {
    let Some(missed) = now_ns.saturating_sub(at_ns).checked_div(period_ns) else {
        return NEVER;
    };
    let periods = missed.saturating_add(1);
    at_ns.saturating_add(period_ns.saturating_mul(periods))
}

impl<P: Platform> Ipc<P> {
    /// A timer that sets bits of a notification, in the name of the domain and as long as that has
    /// this capability of it. It is not set.
    ///
    /// # Errors
    /// Those of a look-up with SIGNAL; `Invalid`: as for a signal; `Quota`, `NoMemory`, `Limit`.
    pub fn create_timer(
        &self,
        domain: &Domain<P>,
        notification: Handle,
        bits: u64,
    ) -> Result<Handle, Error> {
        let (by, bell) = Bell::new(domain, notification, bits)?;
        let timer = Timer::new(Action::Ring(bell));
        self.install_by(
            &by,
            domain,
            Payload::Timer(mm::shared(timer)),
            Rights::TIMER,
        )
    }

    /// Has a timer go off at a time, and every `period_ns` after it unless that is 0, instead of
    /// what was set before; `u64::MAX` stops it. A time that has come is now.
    ///
    /// # Errors
    /// Those of a look-up with MANAGE; `Range`: the period is below [`MIN_TIMER_PERIOD`].
    pub fn set_timer(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        deadline_ns: u64,
        period_ns: u64,
    ) -> Result<(), Error> {
        let capability = domain.look_up(handle, Some(ObjectKind::Timer), Rights::MANAGE)?;
        let Payload::Timer(timer) = capability.object().payload() else {
            return Err(Error::WrongKind);
        };
        if (1..MIN_TIMER_PERIOD).contains(&period_ns) {
            return Err(Error::Range);
        }
        // Whoever ends a timer takes its last capability first and the lock of its schedule afterwards.
        capability.commit(|| {
            let mut schedule = timer.schedule.lock();
            self.disarm(&mut schedule);
            schedule.next_ns = deadline_ns;
            schedule.period_ns = period_ns;
            self.go_on(timer, &mut schedule);
            Ok(())
        })
    }

    /// A timer that has an operation of a submission ring looked at. It is not set, and is to be
    /// [ended](Ipc::end_timer).
    pub(crate) fn timer_of(&self, ring: &Arc<SubmissionRing<P>>, key: u32) -> Arc<Timer<P>> {
        mm::shared(Timer::new(Action::Note(ring.clone(), key)))
    }

    /// Has such a timer go off at a time, once, instead of what was set before.
    pub(crate) fn note_at(&self, timer: &Arc<Timer<P>>, at_ns: u64) {
        let mut schedule = timer.schedule.lock();
        // Mostly it is set so.
        if schedule.next_ns != at_ns {
            self.disarm(&mut schedule);
            schedule.next_ns = at_ns;
            self.go_on(timer, &mut schedule);
        }
    }

    /// Stops a timer for good.
    pub(crate) fn end_timer(&self, timer: &Timer<P>) {
        if mm::sabotaged!("timer_fires_after_drop") {
            return;
        }
        let mut schedule = timer.schedule.lock();
        schedule.next_ns = NEVER;
        self.disarm(&mut schedule);
    }

    /// Makes unpredictable what the times of timers do to the queues; see [`Alarms::seed`].
    pub fn seed_timers(&self, mut seed: impl FnMut() -> u64) {
        for alarms in self.alarms.iter() {
            alarms.lock().seed(seed());
        }
    }

    /// Has every timer of a CPU go off whose time has come, but for those beyond `most`. For the
    /// embedder, not in an interrupt handler. What comes next is told by
    /// [`Platform::set_alarm`] again. Capabilities and grants whose time has come end as well.
    pub fn expire_timers(&self, cpu: CpuId, most: usize) {
        let now_ns = self.platform().now_ns();
        self.lapse(now_ns, most);
        for _ in 0..most {
            let due = self.alarms[cpu].lock().pop_due(now_ns);
            let Some((place, timer)) = due else { break };
            let mut schedule = timer.schedule.lock();
            schedule.armed = None;
            schedule.place = Some(place);
            self.go_on(&timer, &mut schedule);
        }
        let alarms = self.alarms[cpu].lock();
        let next_ns = alarms.earliest_ns().min(self.next_lapse());
        self.platform().set_alarm(cpu, next_ns);
    }

    /// Has [`expire_timers`](Ipc::expire_timers) called on this CPU at a time, if not before.
    pub(crate) fn expire_at(&self, at_ns: u64) {
        let cpu = self.platform().current();
        let alarms = self.alarms[cpu].lock();
        let next_ns = alarms.earliest_ns().min(at_ns);
        self.platform().set_alarm(cpu, next_ns);
    }

    /// Has a timer go off if its time has come, and arms it for the next.
    fn go_on(&self, timer: &Arc<Timer<P>>, schedule: &mut Schedule<P>) {
        let now_ns = self.platform().now_ns();
        if schedule.next_ns <= now_ns {
            schedule.messages += 1;
            let done = match &timer.action {
                Action::Ring(bell) => {
                    self.platform().count(Counted::Message { bytes: 0 });
                    self.ring(bell)
                }
                Action::Note(ring, key) => {
                    self.pass_on(Told::of(ring.clone(), *key));
                    Ok(())
                }
            };
            schedule.next_ns = match done {
                Ok(()) => following_ns(schedule.next_ns, schedule.period_ns, now_ns),
                Err(_) => NEVER,
            };
        }
        if schedule.next_ns == NEVER {
            return;
        }
        if let Some(place) = schedule.place.take() {
            let cpu = self.platform().current();
            let mut alarms = self.alarms[cpu].lock();
            let key = alarms.arm(place, schedule.next_ns, timer.clone());
            schedule.armed = Some((cpu, key));
            if alarms.earliest_ns() == schedule.next_ns {
                let next_ns = schedule.next_ns.min(self.next_lapse());
                self.platform().set_alarm(cpu, next_ns);
            }
        }
    }

    fn disarm(&self, schedule: &mut Schedule<P>) {
        if let Some((cpu, key)) = schedule.armed.take() {
            let taken = self.alarms[cpu].lock().cancel(key);
            if let Some((place, _)) = taken {
                schedule.place = Some(place);
            }
        }
    }
}
