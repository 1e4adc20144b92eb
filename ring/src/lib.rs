//! Shared-memory rings that are safe against a hostile peer.
#![no_std]
