//! Capabilities and their transfer.

use alloc::sync::Arc;

use abi::{
    CapInfo, DeriveArgs, Error, GrantFlags, Handle, Mode, ObjectInfo, RevokeFlags, Rights, Token,
    UserPtr,
};

use crate::machine::ipc;
use crate::process::Process;
use crate::user_memory;

pub fn cap_derive(process: &Arc<Process>, handle: Handle, rights: Rights) -> Result<Handle, Error> {
    ipc().derive(process.domain(), handle, rights)
}

pub fn cap_drop(process: &Arc<Process>, handle: Handle) -> Result<(), Error> {
    ipc().drop_capability(process.domain(), handle)
}

pub fn cap_revoke(process: &Arc<Process>, handle: Handle, _: RevokeFlags) -> Result<u64, Error> {
    ipc().revoke(process.domain(), handle)
}

pub fn cap_info(
    process: &Arc<Process>,
    handle: Handle,
    info: UserPtr<CapInfo>,
) -> Result<(), Error> {
    let facts = ipc().capability_info(process.domain(), handle)?;
    user_memory::write(info, &facts)
}

pub fn cap_same(process: &Arc<Process>, a: Handle, b: Handle) -> Result<bool, Error> {
    ipc().same_object(process.domain(), a, b)
}

pub fn grant(
    process: &Arc<Process>,
    handle: Handle,
    via: Handle,
    mode: Mode,
    rights: Rights,
    flags: GrantFlags,
    _: u64,
) -> Result<Token, Error> {
    ipc().grant(process.domain(), handle, via, mode, rights, flags)
}

pub fn accept(process: &Arc<Process>, token: Token, via: Handle) -> Result<Handle, Error> {
    ipc().accept(process.domain(), token, via)
}

pub fn cancel(process: &Arc<Process>, token: Token) -> Result<(), Error> {
    ipc().cancel(process.domain(), token)
}

pub fn cap_derive_with(
    _: &Arc<Process>,
    _: Handle,
    _: UserPtr<DeriveArgs>,
) -> Result<Handle, Error> {
    Err(Error::Unsupported)
}

pub fn cap_reduce(_: &Arc<Process>, _: Handle, _: Rights) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn object_info(
    process: &Arc<Process>,
    handle: Handle,
    info: UserPtr<ObjectInfo>,
) -> Result<(), Error> {
    let facts = ipc().object_info(process.domain(), handle)?;
    user_memory::write(info, &facts)
}
