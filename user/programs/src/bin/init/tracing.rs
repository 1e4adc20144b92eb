//! A trace of what the other programs do, which `tracer` writes to the console meanwhile.

use programs::expect;
use rt::{FOREVER, Handle, Mode, Process, Rights, Spawn};

use crate::Initrd;

/// What the tracer may do with the trace.
const READ_TRACE: Rights = Rights::READ.union(Rights::MAP).union(Rights::INSPECT);

/// A trace that is being taken.
pub struct Tracing {
    devices: Handle,
    tracer: Process,
}

impl Tracing {
    /// Begins a trace with room for so many events of each CPU.
    pub fn begin(initrd: &Initrd, devices: Handle, slots: u32) -> Tracing {
        let image = initrd.image("tracer");
        let trace = expect!(
            rt::trace_start(devices, slots),
            "init: starting a trace of {slots} events"
        );
        let tracer = Spawn::new(image, "tracer").handle(trace.handle(), Mode::Share, READ_TRACE);
        let tracer = expect!(tracer.start(), "init: starting the tracer");
        // The tracer's share keeps it.
        drop(trace);
        Tracing { devices, tracer }
    }

    /// Ends the trace, and waits until all of it is written.
    pub fn end(self) {
        expect!(rt::trace_stop(self.devices), "init: ending the trace");
        expect!(self.tracer.wait(FOREVER), "init: waiting for the tracer");
    }
}
