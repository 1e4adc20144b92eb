//! Frames, regions as page tables, address spaces and acknowledged TLB shootdown.
#![no_std]
