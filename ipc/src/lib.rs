//! Capabilities, lineage, transfers and ring objects.
#![no_std]
