//! What a user would pick instead, each by the way that its documentation recommends for speed.

pub mod bbqueue;
pub mod framed;
#[cfg(feature = "iceoryx2")]
pub mod iceoryx2;
pub mod system;
pub mod typed;
