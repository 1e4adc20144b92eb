//! The programs that Handover boots with.
