//! Messages on channels.

use static_assertions::const_assert_eq;

use crate::Handle;

/// The two ends that `channel_create` returns. They are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ChannelEnds {
    /// One.
    pub first: Handle,
    /// The other.
    pub second: Handle,
}

const_assert_eq!(size_of::<ChannelEnds>(), 16);

/// A message that is sent, or where one that is received goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Message {
    /// The address of the bytes.
    pub bytes: u64,
    /// How many: at most [`MAX_MESSAGE`](crate::limits::MAX_MESSAGE). For who receives: how many fit,
    /// and after the call, how many there are.
    pub bytes_len: u64,
    /// Who sends: the address of an array of [`HandleTransfer`](crate::HandleTransfer). Who receives:
    /// of an array of [`Handle`]; one whose capability was revoked on the way is 0.
    pub handles: u64,
    /// Elements of that array, at most [`MAX_MESSAGE_HANDLES`](crate::limits::MAX_MESSAGE_HANDLES);
    /// for who receives as with the bytes.
    pub handles_len: u64,
    /// Who receives: the right to reply, if this is a call. Else 0.
    pub reply: Handle,
    /// Who receives: the badge of the capability that it was sent with. Else 0.
    pub badge: u64,
}

const_assert_eq!(size_of::<Message>(), 48);

/// A message of four words in registers: `rdi`, `rsi`, `rdx`, `r10`, then `reply` in `r8` and `badge`
/// in `r9`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// The words.
    pub words: [u64; 4],
    /// The right to reply, if this is a call; else 0.
    pub reply: Handle,
    /// The badge of the capability that it was sent with.
    pub badge: u64,
}

/// Facts about a channel end, from `channel_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ChannelInfo {
    /// Its number, never used twice.
    pub koid: u64,
    /// The number of the other end.
    pub peer: u64,
    /// Messages that fit in the queue of an end.
    pub capacity: u32,
    /// Messages that wait to be received here.
    pub queued: u32,
    /// Messages that wait to be received at the other end.
    pub peer_queued: u32,
    /// 1 when the other end is gone.
    pub peer_closed: u32,
    /// Messages a second that can be sent from here; 0 stands for no limit.
    pub message_rate: u64,
    /// Bytes a second that can be sent from here; 0 stands for no limit.
    pub byte_rate: u64,
}

const_assert_eq!(size_of::<ChannelInfo>(), 48);
