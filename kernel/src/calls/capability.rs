//! Capabilities and their transfer.

use alloc::sync::Arc;

use abi::{
    CapInfo, DeriveArgs, Error, GrantFlags, Handle, Mode, ObjectInfo, RevokeFlags, Rights, Token,
    UserPtr,
};

use ipc::Narrowing;

use crate::machine::ipc;
use crate::process::Process;
use crate::user_memory;

pub fn cap_derive(process: &Arc<Process>, handle: Handle, rights: Rights) -> Result<Handle, Error> {
    ipc().derive(process.domain(), handle, rights)
}

pub fn cap_drop(process: &Arc<Process>, handle: Handle) -> Result<(), Error> {
    ipc().drop_capability(process.domain(), handle)
}

pub fn cap_revoke(
    process: &Arc<Process>,
    handle: Handle,
    flags: RevokeFlags,
) -> Result<u64, Error> {
    ipc().revoke(process.domain(), handle, flags)
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
    deadline: u64,
) -> Result<Token, Error> {
    let domain = process.domain();
    ipc().grant(domain, handle, via, mode, rights, flags, deadline)
}

pub fn accept(process: &Arc<Process>, token: Token, via: Handle) -> Result<Handle, Error> {
    ipc().accept(process.domain(), token, via)
}

pub fn cancel(process: &Arc<Process>, token: Token) -> Result<(), Error> {
    ipc().cancel(process.domain(), token)
}

pub fn cap_derive_with(
    process: &Arc<Process>,
    handle: Handle,
    args: UserPtr<DeriveArgs>,
) -> Result<Handle, Error> {
    let narrowing = Narrowing::decode(&user_memory::read(args)?)?;
    ipc().derive_with(process.domain(), handle, &narrowing)
}

pub fn cap_reduce(process: &Arc<Process>, handle: Handle, rights: Rights) -> Result<(), Error> {
    ipc().reduce(process.domain(), handle, rights)
}

pub fn object_info(
    process: &Arc<Process>,
    handle: Handle,
    info: UserPtr<ObjectInfo>,
) -> Result<(), Error> {
    let facts = ipc().object_info(process.domain(), handle)?;
    user_memory::write(info, &facts)
}
