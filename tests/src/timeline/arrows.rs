//! Who waited for whom: waits, and the arrows that end them.

use abi::trace::{Event, Left, Woken};
use serde_json::json;

use super::{Drawing, MACHINE, micros};

/// Who woke a thread, from where an arrow leads to where that one goes on.
#[derive(Debug)]
pub(super) struct Waker {
    track: (u64, u64),
    name: String,
    at: u64,
    why: u64,
}

impl Drawing {
    /// A thread runs again: ends its wait, and the arrow from who woke it.
    pub(super) fn goes_on(&mut self, cpu: usize, thread: u32, now: u64) {
        let state = self.state(thread);
        let (off, woken) = (state.off.take(), state.woken.take());
        let starts = woken
            .as_ref()
            .filter(|waker| waker.why == Woken::Started as u64);
        let pause = match (off, starts) {
            (Some((since, Left::Asleep)), _) => Some(("waits", since)),
            (Some((since, _)), _) => Some(("ready", since)),
            (None, Some(waker)) => Some(("starts", waker.at)),
            (None, None) => None,
        };
        if let Some((name, since)) = pause {
            let why = woken.as_ref().map(|waker| why_woken(waker.why));
            let by = woken.as_ref().map(|waker| waker.name.as_str());
            let ended = why.unwrap_or("the scheduler");
            let args = json!({ "ended by": ended, "woken by": by, "cpu": cpu });
            self.slice(thread, name, "wait", (since, now), args);
        }
        if let Some(waker) = woken {
            self.arrow(&waker, thread, now);
        }
    }

    /// An arrow into the call of a thread that goes on now, or into a slice of its own.
    fn arrow(&mut self, from: &Waker, thread: u32, now: u64) {
        self.arrows += 1;
        let in_a_call = self.state(thread).call.is_some();
        if !in_a_call {
            self.slice(thread, "goes on", "wake", (now, now + 1), json!({}));
        }
        let ends = [("s", from.track, from.at), ("f", self.track(thread), now)];
        for (phase, (pid, tid), at) in ends {
            self.out.push(json!({
                "ph": phase, "id": self.arrows, "name": "wake", "cat": "wake",
                "pid": pid, "tid": tid, "ts": micros(at),
            }));
        }
        if let Some(end) = self.out.last_mut() {
            // What is around it, and not what comes next.
            end["bp"] = "e".into();
        }
    }

    /// Somebody is woken: by the thread, or by the CPU when a time or an idle CPU does.
    pub(super) fn wake(&mut self, cpu: usize, event: &Event) {
        let [woken, _, why, ..] = event.arguments;
        let by_thread = event.thread != 0 && why != Woken::TimedOut as u64;
        let (track, by) = match by_thread {
            true => (self.track(event.thread), self.threads.label(event.thread)),
            false => ((MACHINE, cpu as u64), format!("CPU {cpu}")),
        };
        let name = self.threads.label(woken as u32);
        let span = (event.time_ns, event.time_ns + 1);
        let args = json!({ "why": why_woken(why) });
        // An arrow begins in a slice.
        self.put_slice(track, &format!("wakes {name}"), "wake", span, args);
        self.state(woken as u32).woken.get_or_insert(Waker {
            track,
            name: by,
            at: event.time_ns,
            why,
        });
    }
}

fn why_woken(why: u64) -> &'static str {
    match why {
        why if why == Woken::Unparked as u64 => "a wake",
        why if why == Woken::TimedOut as u64 => "its deadline",
        why if why == Woken::Ending as u64 => "its end",
        _ => "its start",
    }
}
