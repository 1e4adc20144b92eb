//! The runner, the QEMU suites and the host tests of Handover.
