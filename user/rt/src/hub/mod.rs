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
//!         let mut link = match links.remove(&peer) { Some(link) => link, None => host.connect(peer, standing.epoch)? };
//!         let served = loop {
//!             match link.receive(&mut buffer) {
//!                 Ok(Some(len)) => { /* … */ }
//!                 Ok(None) => break Ok(()),
//!                 Err(error) => break Err(error),
//!             }
//!         };
//!         if served.is_err() {
//!             host.dismiss(link.seat)?;                  // it sends nonsense
//!         }
//!         match standing.state {
//!             PeerState::Attached if served.is_ok() => _ = links.insert(peer, link),
//!             _ => _ = host.recover(link)?,
//!         }
//!     }
//! }
//!
//! let mut guest = hub::Guest::claim(membership, epoch)?;
//! guest.send(b"hello", FOREVER)?;
//! let len = guest.receive(&mut buffer, FOREVER)?;
//! ```
//!
//! What the rings of a hub are is chosen when it is made: slots as above, packets ([`PacketLink`], [`PacketGuest`]) or streams
//! of bytes ([`ByteLink`], [`ByteGuest`]).

mod guest;
mod host;
mod payload;
mod recovery;
mod table;

pub use abi::hub::{PeerState, Standing};
pub use abi::{HubGeometry, HubInfo, HubPeers, HubSeat, HubSignal};
pub use guest::{ByteGuest, Guest, GuestOf, GuestWait, PacketGuest, reserve};
pub use host::{ByteLink, Host, Link, LinkOf, PacketLink};
pub use payload::{MAX_REGIONS, Patience, Payloads, Received, Send, Unfinished};
pub use recovery::{LinkKind, MessageKind, Unrecovered};
pub use ring::hub::recovery::{Drained, Recovered};
pub use ring::payload::traffic::{Count, Flow};
pub use ring::payload::{Class, RegionId, Traffic, What};
pub use table::Table;
