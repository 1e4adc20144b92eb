//! The bench on which rings are compared with what a user would pick instead, natively.
//!
//! Same work, same run: the contenders of a row take turns, each for a short batch between two pinned threads or
//! processes; a batch in which one of them had to leave its CPU is thrown away, and lower quartiles are compared. Ratios are
//! what can be relied on: nanoseconds are one machine's on one day.

pub mod arena;
pub mod beside;
pub mod contender;
pub mod figure;
pub mod instructions;
pub mod measure;
pub mod message;
pub mod plot;
pub mod report;
