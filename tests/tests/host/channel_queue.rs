//! A channel beside a plain queue: whatever is done, both have the same messages in the same order.

use std::collections::VecDeque;

use crate::common::messages::{End, Ends};
use crate::common::realm::Realm;
use abi::{Error, Handle, HandleTransfer, Mode, Rights};
use proptest::prelude::*;

/// Something done at one of the two ends.
#[derive(Clone, Debug)]
enum Step {
    /// Bytes, and how many regions go with them; one of them maybe by a handle of nothing.
    Send {
        from: usize,
        len: usize,
        regions: usize,
        spoilt: bool,
    },
    Receive {
        at: usize,
        refuses: bool,
    },
    Close {
        end: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let send = (
        0..2_usize,
        0..=256_usize,
        0..=4_usize,
        prop::bool::weighted(0.2),
    )
        .prop_map(|(from, len, regions, spoilt)| Step::Send {
            from,
            len,
            regions,
            spoilt,
        });
    let receive = (0..2_usize, prop::bool::weighted(0.2))
        .prop_map(|(at, refuses)| Step::Receive { at, refuses });
    let close = (0..2_usize).prop_map(|end| Step::Close { end });
    prop_oneof![20 => send, 18 => receive, 1 => close]
}

/// What the channel should be: messages to each end, and which are closed.
#[derive(Default)]
struct Plain {
    to: [VecDeque<(Vec<u8>, Vec<u64>)>; 2],
    closed: [bool; 2],
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_channel_has_the_messages_of_a_plain_queue(
        capacity in 1..6_u32,
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let realm = Realm::new(2);
        let ends = Ends::between(&realm, 0, 1, capacity);
        let ends = [ends.here, ends.there];
        let mut plain = Plain::default();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Send { from, len, regions, spoilt } if !plain.closed[from] => {
                    let bytes = vec![number as u8; len];
                    let handles: Vec<Handle> = (0..regions).map(|_| realm.region(from, 1)).collect();
                    let koids: Vec<u64> = handles.iter().map(|&handle| koid(&realm, from, handle)).collect();
                    let mut transfers: Vec<_> = handles.iter().map(|&handle| moved(handle)).collect();
                    if spoilt && let Some(last) = transfers.last_mut() {
                        *last = moved(Handle::from_bits(7));
                    }
                    let expected = if plain.closed[1 - from] {
                        Err(Error::PeerClosed)
                    } else if plain.to[1 - from].len() == capacity as usize {
                        Err(Error::Full)
                    } else if spoilt && regions > 0 {
                        Err(Error::BadHandle)
                    } else {
                        plain.to[1 - from].push_back((bytes.clone(), koids));
                        Ok(())
                    };
                    prop_assert_eq!(ends[from].send(&realm, &bytes, &transfers), expected);
                    if expected.is_err() {
                        for handle in handles {
                            prop_assert_eq!(realm.drop_handle(from, handle), Ok(()));
                        }
                    }
                }
                Step::Receive { at, refuses } if !plain.closed[at] => {
                    receive(&realm, &ends[at], refuses, &mut plain)?;
                }
                Step::Close { end } if !plain.closed[end] => {
                    ends[end].drop(&realm);
                    plain.closed[end] = true;
                    plain.to[end].clear();
                }
                _ => {}
            }
            for (end, at) in ends.iter().zip(0..).filter(|(_, at)| !plain.closed[*at]) {
                let info = end.info(&realm);
                prop_assert_eq!(info.queued as usize, plain.to[at].len());
                prop_assert_eq!(info.peer_closed == 1, plain.closed[1 - at]);
            }
        }
        realm.finish();
    }
}

fn receive(
    realm: &Realm,
    end: &End,
    refuses: bool,
    plain: &mut Plain,
) -> Result<(), TestCaseError> {
    let at = end.domain;
    if refuses && !plain.to[at].is_empty() {
        let domain = &realm.domains[at];
        let refused = realm
            .ipc
            .receive(domain, end.handle, 0, |_| Err(Error::Fault));
        prop_assert_eq!(refused, Err(Error::Fault));
        return Ok(());
    }
    let got = end.receive(realm).map(|got| {
        let koids = got.handles.iter().map(|&handle| koid(realm, at, handle));
        (got.bytes, koids.collect())
    });
    let expected = match plain.to[at].pop_front() {
        Some(message) => Ok(message),
        None if plain.closed[1 - at] => Err(Error::PeerClosed),
        None => Err(Error::WouldBlock),
    };
    prop_assert_eq!(got, expected);
    Ok(())
}

fn moved(handle: Handle) -> HandleTransfer {
    HandleTransfer::new(handle, Mode::Move, Rights::all())
}

fn koid(realm: &Realm, domain: usize, handle: Handle) -> u64 {
    let info = realm.ipc.capability_info(&realm.domains[domain], handle);
    info.unwrap().koid
}
