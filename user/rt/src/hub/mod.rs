//! Hubs: one host, and up to 255 guests that speak with it over two rings each.
//!
//! A host, and a guest that it has given a membership to:
//!
//! ```ignore
//! let host = hub::Host::create(&HubGeometry::slot(16, 256, 64, 64))?;
//! let (membership, seat) = host.reserve()?;          // goes to a process as a handle
//! loop {
//!     for peer in host.wait(FOREVER)?.iter() {
//!         let standing = host.standing(peer)?;
//!         let link = match links.remove(&peer) { Some(link) => link, None => host.connect(peer, standing.epoch)? };
//!         while let Ok(len) = link.receiver.try_receive(&mut buffer) { /* … */ }
//!         match standing.state {
//!             PeerState::Goodbye => host.recover(link)?, // after everything was received
//!             _ => links.insert(peer, link),
//!         }
//!     }
//! }
//!
//! let mut guest = hub::Guest::claim(membership, epoch)?;
//! guest.send(b"hello", FOREVER)?;
//! let len = guest.receive(&mut buffer, FOREVER)?;
//! ```

mod guest;
mod host;
mod payload;
mod table;

pub use abi::hub::{PeerState, Standing};
pub use abi::{HubGeometry, HubInfo, HubPeers, HubSeat, HubSignal};
pub use guest::{Guest, GuestWait, reserve};
pub use host::{Host, Link};
pub use payload::{MAX_REGIONS, Payloads, Received};
pub use ring::payload::{Class, RegionId};
pub use table::Table;
