//! Traces: taking one, and reading what it recorded.

use core::ptr::NonNull;

use abi::trace::{Event, SLOT_WORDS};
use abi::{Error, Handle, Rights};
use ring::memory::trace::{CpuView, TraceView};
use ring::trace::{Observed, Observer};

use crate::{Mapping, Region, sys};

/// A trace that this process may read, mapped.
#[derive(Debug)]
pub struct Trace {
    view: TraceView<'static>,
    _mapping: Mapping,
}

/// Has every CPU record what it does, in rings of `slots` events; `devices` is the resource of all
/// devices. Returns the region with the rings.
pub fn trace_start(devices: Handle, slots: u32) -> Result<Region, Error> {
    // SAFETY: the call touches no memory.
    unsafe { sys::trace_start(devices, slots) }.map(Region::from_handle)
}

/// Ends the trace that is being taken.
pub fn trace_stop(devices: Handle) -> Result<(), Error> {
    // SAFETY: the call touches no memory.
    unsafe { sys::trace_stop(devices) }
}

impl Trace {
    /// The trace in a region; needs READ, MAP and INSPECT. `Invalid`: it has none.
    pub fn open(region: &Region) -> Result<Trace, Error> {
        let mapping = region.map(Rights::READ)?;
        let base = NonNull::new(mapping.address() as *mut u8).ok_or(Error::Invalid)?;
        // SAFETY: the mapping has so many bytes and is there as long as what reads through it, which
        // borrows this value; only the kernel writes there.
        let view = unsafe { TraceView::from_raw(base, mapping.len() as usize) };
        Ok(Trace {
            view: view.map_err(|_| Error::Invalid)?,
            _mapping: mapping,
        })
    }

    /// CPUs that record.
    pub fn cpus(&self) -> usize {
        self.view.cpus()
    }

    /// When it began, in ns of the monotonic clock.
    pub fn started_ns(&self) -> u64 {
        self.view.started_ns()
    }

    /// Whether nothing more will come. Whoever then reads until there is nothing has all of it.
    pub fn has_ended(&self) -> bool {
        self.view.has_ended()
    }

    /// A reader of what one CPU did, from the beginning; `None` when there is no such CPU.
    pub fn events(&self, cpu: usize) -> Option<TraceEvents<'_>> {
        self.view.observer(cpu).map(TraceEvents)
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traced {
    /// An event.
    Event(Event),
    /// So many events came too fast and are lost.
    Lost(u64),
}

/// What one CPU did, in order. There may be more after `None`.
#[derive(Debug)]
pub struct TraceEvents<'a>(Observer<CpuView<'a>>);

impl Iterator for TraceEvents<'_> {
    type Item = Traced;

    fn next(&mut self) -> Option<Traced> {
        Some(match self.0.observe::<SLOT_WORDS>()? {
            Observed::Record(words) => Traced::Event(Event::decode(words)),
            Observed::Lost(count) => Traced::Lost(count),
        })
    }
}
