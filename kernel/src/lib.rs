//! The small SMP kernel that proves Handover in QEMU.
