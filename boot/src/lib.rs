//! Entry from the loader and the neutral description of the machine.
#![no_std]
