//! The name service, as its clients see it.
//!
//! Whoever wants to be found registers an end of a channel under a name; whoever looks the name up
//! makes a fresh channel, and the service passes one end of it on to whoever registered. From then on
//! the two talk to each other alone. A client talks to the service over its *session*, an end of a
//! channel that its parent opened for it, so that there is nothing that everybody shares: a client that
//! floods or spoils its session is its own victim. What a session registered and watches goes with it.
//!
//! [`protocol`] says what the messages are. `docs/programs.md` has a service and its client.

mod client;
mod ends;
pub mod protocol;
mod service;

pub use client::{Listener, Names};
pub use ends::{Ends, KeptEnd};
pub use service::{Event, Service};
