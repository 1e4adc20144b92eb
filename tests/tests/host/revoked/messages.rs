//! Messages, calls and their answers.

use abi::Handle;

use crate::common::calls::ROOMY;
use crate::common::messages::End;
use crate::common::revoked::{CALLED, END, Scene};
use crate::common::stage::HELLO;

/// Long past, where time is not held.
const SOON: u64 = 1;
use super::deed::{Deed, Way};

pub const DEEDS: &[Deed] = &[
    Deed::new(
        "send",
        &["channel_send.end"],
        Way::Revoked(END),
        |s| End::new(1, s.below[END]).send(&s.realm, b"it", &[]),
        |s| s.queued(s.ends.there.handle) == 1,
    ),
    Deed::new(
        "receive",
        &["channel_receive.end"],
        Way::Revoked(END),
        |s| End::new(1, s.below[END]).receive(&s.realm).map(drop),
        |s| s.queued(s.ends.here.handle) == 0,
    ),
    Deed::new(
        "call",
        &["channel_call.end"],
        Way::Revoked(END),
        |s| {
            let (ipc, end) = (s.ipc(), s.below[END]);
            ipc.call(s.me(), end, HELLO, ROOMY, SOON, |_| Ok(()))
                .map(drop)
        },
        |s| s.queued(s.ends.there.handle) == 1,
    )
    .in_vain(),
    Deed::new(
        "call in words",
        &["channel_call_words.end"],
        Way::Revoked(END),
        |s| {
            let end = s.below[END];
            s.ipc().call_words(s.me(), end, [1; 4], SOON).map(drop)
        },
        |s| s.queued(s.ends.there.handle) == 1,
    )
    .in_vain(),
    Deed::new(
        "answer",
        &["channel_reply.reply"],
        Way::Moved(|s| s.reply),
        |s| s.ipc().reply(s.me(), s.reply, HELLO),
        Scene::is_answered,
    )
    .in_one_hold(),
    Deed::new(
        "answer in words",
        &["channel_reply_words.reply"],
        Way::Moved(|s| s.reply),
        |s| s.ipc().reply_words(s.me(), s.reply, [1; 4]),
        Scene::is_answered,
    ),
    Deed::new(
        "serve",
        &["channel_serve.end"],
        Way::Revoked(END),
        |s| s.serve(END, Handle::NONE),
        |s| s.queued(s.ends.here.handle) == 0,
    ),
    Deed::new(
        "serve after an answer",
        &["channel_serve.reply"],
        Way::Moved(|s| s.reply),
        |s| s.serve(CALLED, s.reply),
        Scene::is_answered,
    )
    .and_more(),
    Deed::new(
        "serve words",
        &["channel_serve_words.end"],
        Way::Revoked(CALLED),
        |s| s.serve_words(Handle::NONE),
        |s| s.queued(s.tops[CALLED]) == 0,
    ),
    Deed::new(
        "serve words after an answer",
        &["channel_serve_words.reply"],
        Way::Moved(|s| s.reply),
        |s| s.serve_words(s.reply),
        Scene::is_answered,
    )
    .and_more(),
    Deed::new(
        "limit a channel",
        &["channel_limit.end"],
        Way::Revoked(END),
        |s| s.ipc().limit_channel(s.me(), s.below[END], 5, 0),
        |s| s.ends.here.info(&s.realm).message_rate == 5,
    ),
    Deed::new(
        "limit a channel from what is moved away",
        &["channel_limit.end"],
        Way::Moved(|s| s.below[END]),
        |s| s.ipc().limit_channel(s.me(), s.below[END], 5, 0),
        |s| s.ends.here.info(&s.realm).message_rate == 5,
    ),
];
