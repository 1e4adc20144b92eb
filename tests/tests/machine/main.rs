//! Handover in its machine.

mod display;
mod driver;
mod examples;
mod figures;
mod machines;
mod manual;
mod qemu;
mod self_check;
mod wrong_starts;
