//! The x86_64 platform under Handover's kernel.
#![no_std]
