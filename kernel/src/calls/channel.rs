//! Channels, calls and replies.

use alloc::sync::Arc;

use abi::{ChannelEnds, ChannelInfo, Error, Handle, Message, UserPtr, Words};

use crate::process::Process;

pub fn channel_create(_: &Arc<Process>, _: u32, _: UserPtr<ChannelEnds>) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn channel_send(_: &Arc<Process>, _: Handle, _: UserPtr<Message>, _: u64) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn channel_receive(
    _: &Arc<Process>,
    _: Handle,
    _: UserPtr<Message>,
    _: u64,
) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn channel_call(
    _: &Arc<Process>,
    _: Handle,
    _: UserPtr<Message>,
    _: UserPtr<Message>,
    _: u64,
) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn channel_reply(_: &Arc<Process>, _: Handle, _: UserPtr<Message>) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn channel_call_words(
    _: &Arc<Process>,
    _: Handle,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
) -> Result<Words, Error> {
    Err(Error::Unsupported)
}

pub fn channel_serve_words(
    _: &Arc<Process>,
    _: Handle,
    _: Handle,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
) -> Result<Words, Error> {
    Err(Error::Unsupported)
}

pub fn channel_reply_words(
    _: &Arc<Process>,
    _: Handle,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn channel_limit(_: &Arc<Process>, _: Handle, _: u64, _: u64) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn channel_info(_: &Arc<Process>, _: Handle, _: UserPtr<ChannelInfo>) -> Result<(), Error> {
    Err(Error::Unsupported)
}
