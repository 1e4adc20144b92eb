//! The contract between Handover's kernel and its programs.
#![no_std]
#![forbid(unsafe_code)]

pub mod ring;
