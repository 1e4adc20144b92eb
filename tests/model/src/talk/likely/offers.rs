//! Offers that are likely to succeed, and to be accepted by whom they are for.

use abi::{GrantFlags, Mode};

use super::{Kind, Likely, can_go};
use crate::PROCESSES;
use crate::talk::{REGISTERS, Step, Via};

/// What is likely to be offered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    kind: Kind,
    from: usize,
    to: usize,
    /// The end at which it is to be accepted.
    at: Option<(usize, usize)>,
}

/// What goes into this register is accepted as the step says, however senseless.
const AS_IT_IS: usize = REGISTERS - 1;

impl Likely {
    /// Where what is in a register of a process leads, and by which end of a channel.
    fn leads(&self, process: usize, via: Via) -> Option<(usize, Option<(usize, usize)>)> {
        let holder = |wanted| {
            let has = |place: &usize| self.what[*place].contains(&Some(wanted));
            (0..PROCESSES).find(|place| !self.ended[*place] && has(place))
        };
        match via {
            Via::Process(place) => Some((place, None)),
            Via::Hub(place) => {
                let seated = self.first[process] && self.first[place];
                (seated && process != place && process.min(place) == 0).then_some((place, None))
            }
            Via::Handle(register) => match self.exists(process, register)? {
                Kind::Region | Kind::Notification => None,
                Kind::Process(place) => Some((place, None)),
                Kind::RingEnd(ring, side) => Some((holder(Kind::RingEnd(ring, 1 - side))?, None)),
                Kind::End(channel, side) => Some((
                    holder(Kind::End(channel, 1 - side))?,
                    Some((channel, 1 - side)),
                )),
            },
        }
    }

    /// A way from one process to another, the one that was named if it is one.
    fn fit_via(&self, process: usize, via: Via, to: impl Fn(usize) -> bool) -> Via {
        let good = |via: &Via| {
            let peer = self.leads(process, *via);
            peer.is_some_and(|(peer, at)| at.is_none() && !self.ended[peer] && to(peer))
        };
        let registers = (0..REGISTERS).map(Via::Handle);
        let all = std::iter::once(via).chain(registers);
        let known = (0..PROCESSES).map(|step| Via::Process((process + 1 + step) % PROCESSES));
        all.chain(known).find(good).unwrap_or(via)
    }

    pub(super) fn fit_offer(&self, mut step: Step) -> Option<Step> {
        match &mut step {
            Step::Grant {
                process,
                handle,
                via,
                mode,
                flags,
                ..
            } => {
                let kind = self.nearest(process, handle, |kind| can_go(kind, *mode))?;
                if *mode != Mode::Move {
                    *flags = GrantFlags::empty();
                }
                let over = match (self.leads(*process, *via), kind) {
                    (Some((peer, Some((channel, _)))), Kind::End(sent, _)) => {
                        sent > channel && !self.ended[peer]
                    }
                    (Some((peer, Some(_))), _) => !self.ended[peer],
                    _ => false,
                };
                if !over {
                    *via = self.fit_via(*process, *via, |_| true);
                }
            }
            Step::Accept {
                process,
                token,
                via,
                handle,
                ..
            } if *handle != AS_IT_IS => {
                let at_hand = |offer: Offer| {
                    let end = offer.at.map(|(channel, side)| Kind::End(channel, side));
                    end.is_none() || self.what[offer.to].contains(&end)
                };
                let good = |at: &usize| {
                    self.offers[*at].is_some_and(|offer| !self.ended[offer.to] && at_hand(offer))
                };
                let tokens = self.offers.len();
                let mut near = (0..tokens).map(|step| (*token + step) % tokens);
                *token = near.find(good)?;
                let offer = self.offers[*token]?;
                *process = offer.to;
                *via = match offer.at {
                    Some((channel, side)) => {
                        let end = Some(Kind::End(channel, side));
                        let place = self.what[offer.to].iter().position(|what| *what == end);
                        Via::Handle(place?)
                    }
                    None => self.fit_via(offer.to, *via, |peer| peer == offer.from),
                };
            }
            Step::Cancel { process, token, .. } => {
                if let (Some(offer), true) = (self.offers[*token], *process != 0) {
                    *process = offer.from;
                }
            }
            _ => {}
        }
        Some(step)
    }

    pub(super) fn note_offer(&mut self, step: Step) {
        match step {
            Step::Grant {
                process,
                handle,
                via,
                token,
                mode,
                ..
            } => {
                let (peer, kind) = (self.leads(process, via), self.exists(process, handle));
                let (Some((to, at)), Some(kind)) = (peer, kind) else {
                    return;
                };
                if mode == Mode::Move {
                    self.what[process][handle] = None;
                }
                self.offers[token] = Some(Offer {
                    kind,
                    from: process,
                    to,
                    at,
                });
            }
            Step::Accept {
                process,
                token,
                forged: 0,
                handle,
                ..
            } => {
                // It is tried once more now and then.
                if let Some(offer) = self.offers[token].filter(|offer| offer.to == process) {
                    self.what[process][handle] = Some(offer.kind);
                    if handle != 0 {
                        self.offers[token] = None;
                    }
                }
            }
            Step::Cancel {
                token, forged: 0, ..
            } => self.offers[token] = None,
            _ => {}
        }
    }
}
