//! How payloads are sent: the pool grows, slots are filled, regions are published and leased.

use abi::{Error, Mode, Rights, Token};
use ring::payload::layout::MAX_CLASSES;
use ring::payload::{Books, Class, Frame, Layout, RegionId};

use super::regions::{Granted, PoolView, take_back};
use super::{MAX_REGIONS, Patience, Payloads, Send};
use crate::ring_end::to_abi;
use crate::{Region, grant};

/// How a region gets its number.
type Publish = fn(&mut Books<Granted, MAX_REGIONS>, u64) -> Result<RegionId, ring::Error>;

impl Payloads {
    /// Adds slots of these classes to the pool. What anybody holds stays as it is. For the host alone.
    ///
    /// # Errors
    /// `Invalid`: the classes, or not the host; `Full`: it has grown as often as it can; what making, mapping and
    /// granting a region and sending a message answer. The pool has not grown then.
    pub fn grow(&mut self, classes: &[Class], send: Send<'_>) -> Result<(), Error> {
        let extent = self.books.next_extent().map_err(to_abi)?;
        let layout = Layout::new(classes).map_err(to_abi)?;
        let region = Region::create(layout.bytes())?;
        let pool = PoolView::of(region.map(Rights::READ | Rights::WRITE)?, &layout)?;
        let mut fields = [Class::default(); MAX_CLASSES];
        fields[..layout.classes().len()].copy_from_slice(layout.classes());
        let rights = Rights::READ | Rights::WRITE | Rights::MAP | Rights::INSPECT;
        let token = region.share(self.books.regions().via(), rights)?;
        let grown = Frame::Grown {
            extent,
            token: token.bits(),
            classes: fields,
        };
        self.send_frame(&grown, send)
            .inspect_err(|_| take_back(token))?;
        self.books.regions().granted_pool(token);
        self.books.grow(pool, layout).map_err(to_abi)
    }

    /// Sends a payload where it fits: inline, in the smallest slot, or, if it is larger than any, in a region of its own.
    ///
    /// # Errors
    /// `Full`: no slot is free, or the peer has not finished enough of what is in regions
    /// ([`wait_for_room`](Payloads::wait_for_room) sleeps until that changes), or the ring is full; what making and
    /// granting a region and sending a message answer. The payload was not sent then, and nothing is kept for it.
    pub fn send(&mut self, tag: u32, bytes: &[u8], send: Send<'_>) -> Result<(), Error> {
        if bytes.len() <= self.inline_bytes() {
            return self.send_frame_of(
                &Frame::Inline { tag, bytes },
                bytes.len(),
                Patience::Any,
                send,
            );
        }
        match self.books.allocate(bytes.len()) {
            Ok(slot) => {
                // Before anybody is told of it.
                let written = self.books.pools().write(slot, 0, bytes).map_err(to_abi);
                let sent = written.and_then(|()| self.send_frame(&Frame::Slot { tag, slot }, send));
                sent.inspect_err(|_| {
                    if self.books.pools().withdraw(slot).is_ok() {
                        self.tell_freed(slot, send);
                    }
                })
            }
            Err(ring::Error::TooLarge) => {
                let length = bytes.len() as u64;
                let (region, token) = self.grant(bytes, Books::publish_whole)?;
                let whole = Frame::Whole {
                    tag,
                    region,
                    token: token.bits(),
                    length,
                };
                self.send_frame(&whole, send)
                    .inspect_err(|_| _ = self.books.withdraw(region))?;
                self.books.lease(region, 0, length).map_err(to_abi)?;
                Ok(())
            }
            Err(error) => Err(to_abi(error)),
        }
    }

    /// Makes bytes a region that messages can refer to parts of, and tells the peer, which gets them as they are now and
    /// keeps them until the region is [withdrawn](Payloads::withdraw).
    ///
    /// # Errors
    /// `Full`: as many are published as can be; as of [`send`](Payloads::send).
    pub fn publish(&mut self, bytes: &[u8], send: Send<'_>) -> Result<RegionId, Error> {
        let (region, token) = self.grant(bytes, Books::publish)?;
        let published = Frame::Published {
            region,
            token: token.bits(),
            length: bytes.len() as u64,
        };
        self.send_frame(&published, send)
            .inspect_err(|_| _ = self.books.withdraw(region))?;
        Ok(region)
    }

    /// Makes bytes a region that is granted to the peer, which is to be told.
    fn grant(&mut self, bytes: &[u8], publish: Publish) -> Result<(RegionId, Token), Error> {
        let length = bytes.len() as u64;
        let region = Region::create(length)?;
        {
            let mut mapping = region.map(Rights::READ | Rights::WRITE)?;
            // SAFETY: the region was made just now, and is known to nobody else.
            let target = unsafe { mapping.as_mut_slice(bytes.len()) };
            target.ok_or(Error::Denied)?.copy_from_slice(bytes);
        }
        let id = publish(&mut self.books, length).map_err(to_abi)?;
        let regions = self.books.regions();
        let granted = grant(
            region.handle(),
            regions.via(),
            Mode::CopyOnWrite,
            Rights::all(),
        );
        match granted {
            Ok(token) => {
                regions.granted(id, token);
                Ok((id, token))
            }
            Err(error) => {
                let _ = self.books.withdraw(id);
                Err(error)
            }
        }
    }

    /// Publishes a region no longer, so that another can be, and has the peer give up what it keeps of it.
    ///
    /// # Errors
    /// `Invalid`: it is not published; `Full`: parts of it were sent, and not all are finished, or the ring is full; what
    /// sending a message answers. It is published still then.
    pub fn withdraw(&mut self, region: RegionId, send: Send<'_>) -> Result<(), Error> {
        self.books.check_withdrawal(region).map_err(to_abi)?;
        self.send_frame(&Frame::Withdrawn { region }, send)?;
        self.books.withdraw(region).map_err(to_abi)
    }

    /// Sends a part of a region that was published.
    ///
    /// # Errors
    /// `Invalid`: it is not published, or the part is not within it; as of [`send`](Payloads::send).
    pub fn send_part(
        &mut self,
        tag: u32,
        region: RegionId,
        offset: u64,
        length: u64,
        send: Send<'_>,
    ) -> Result<(), Error> {
        let part = self.books.lease(region, offset, length).map_err(to_abi)?;
        let sent = self.send_frame(&Frame::Region { tag, region: part }, send);
        sent.inspect_err(|_| _ = self.books.unlease(region))
    }
}
