//! The call that each step stands for.

use abi::limits::{LEAF_SIZE, PAGE_SIZE};
use abi::{DeriveArgs, DeriveFlags, MapFlags, RevokeFlags, Rights};
use fake::Access;
use ipc::Platform;

use super::{Answer, Subject, Value};
use crate::spec::WORDS;
use crate::{Place, Step};

impl Subject {
    pub(super) fn call(&mut self, step: Step) -> Option<Answer> {
        let ipc = self.ipc.clone();
        let done = |(): ()| Value::Done;
        Some(match step {
            Step::Create {
                process,
                pages,
                flags,
                ..
            } => {
                let domain = self.domain(process)?;
                ipc.create_region(domain, pages * PAGE_SIZE, flags, None)
                    .map(Value::Handle)
            }
            Step::Derive {
                process,
                from,
                rights,
                ..
            } => {
                let handle = self.handle(process, from)?;
                ipc.derive(&self.domains[process], handle, rights)
                    .map(Value::Handle)
            }
            Step::Narrow {
                process,
                from,
                rights,
                offset,
                len,
                nodes,
                badge,
                until,
                once,
                ..
            } => {
                let handle = self.handle(process, from)?;
                let mut flags = DeriveFlags::empty();
                flags.set(DeriveFlags::ONE_SHOT, once);
                let args = DeriveArgs {
                    rights: rights.bits(),
                    flags: flags.bits(),
                    offset: offset * LEAF_SIZE,
                    len: len * LEAF_SIZE,
                    badge,
                    deadline: until.0,
                    max_nodes: nodes,
                    reserved: 0,
                };
                let narrowing = ipc::Narrowing::decode(&args).expect("it makes sense");
                ipc.derive_with(&self.domains[process], handle, &narrowing)
                    .map(Value::Handle)
            }
            Step::Reduce {
                process,
                handle,
                rights,
            } => {
                let handle = self.handle(process, handle)?;
                ipc.reduce(&self.domains[process], handle, rights).map(done)
            }
            Step::Pass { time } => {
                self.machine().advance_ns(time);
                ipc.lapse(self.machine().now_ns(), usize::MAX);
                Ok(Value::Done)
            }
            Step::Drop { process, handle } => {
                let handle = self.handle(process, handle)?;
                ipc.drop_capability(&self.domains[process], handle)
                    .map(done)
            }
            Step::Revoke { process, handle } => {
                let handle = self.handle(process, handle)?;
                ipc.revoke(&self.domains[process], handle, RevokeFlags::empty())
                    .map(Value::Word)
            }
            Step::RevokeAll { process, handle } => {
                let handle = self.handle(process, handle)?;
                ipc.revoke(&self.domains[process], handle, RevokeFlags::ITSELF)
                    .map(Value::Word)
            }
            Step::Destroy { process, handle } => {
                let handle = self.handle(process, handle)?;
                ipc.destroy_region(&self.domains[process], handle).map(done)
            }
            Step::Seal { process, handle } => {
                let handle = self.handle(process, handle)?;
                ipc.seal_region(&self.domains[process], handle).map(done)
            }
            Step::Snapshot {
                process,
                from,
                offset,
                len,
                flags,
                ..
            } => {
                let handle = self.handle(process, from)?;
                let (offset, len) = (offset * LEAF_SIZE, len * LEAF_SIZE);
                ipc.snapshot_region(&self.domains[process], handle, offset, len, flags)
                    .map(Value::Handle)
            }
            Step::Commit {
                process,
                handle,
                page,
                pages,
            } => {
                let handle = self.handle(process, handle)?;
                let (offset, len) = (page * PAGE_SIZE, pages * PAGE_SIZE);
                ipc.commit_region(&self.domains[process], handle, offset, len)
                    .map(done)
            }
            Step::Decommit {
                process,
                handle,
                page,
                pages,
            } => {
                let handle = self.handle(process, handle)?;
                let (offset, len) = (page * PAGE_SIZE, pages * PAGE_SIZE);
                ipc.decommit_region(&self.domains[process], handle, offset, len)
                    .map(done)
            }
            Step::Pin { process, handle } => {
                let handle = self.handle(process, handle)?;
                ipc.pin_region(&self.domains[process], handle).map(done)
            }
            Step::Unpin { process, handle } => {
                let handle = self.handle(process, handle)?;
                ipc.unpin_region(&self.domains[process], handle).map(done)
            }
            Step::Map {
                process,
                handle,
                place,
                guard,
                offset,
                len,
                access,
                ..
            } => {
                let handle = self.handle(process, handle)?;
                let mut flags = MapFlags::empty();
                flags.set(MapFlags::FIXED, matches!(place, Place::Fixed(_)));
                flags.set(MapFlags::GUARD, guard);
                let (offset, len) = (offset * LEAF_SIZE, len * LEAF_SIZE);
                ipc.map(
                    &self.domains[process],
                    handle,
                    place.address(),
                    offset,
                    len,
                    access,
                    flags,
                )
                .map(Value::Address)
            }
            Step::Unmap { process, mapping } => {
                let va = self.address(process, mapping)?;
                ipc.unmap(&self.domains[process], va).map(done)
            }
            Step::Protect {
                process,
                mapping,
                access,
            } => {
                let va = self.address(process, mapping)?;
                ipc.protect(&self.domains[process], va, access).map(done)
            }
            Step::Enter { cpu, process } => {
                self.domain(process)?;
                self.run_on(cpu, Some(process));
                Ok(Value::Done)
            }
            Step::Idle { cpu } => {
                self.run_on(cpu, None);
                Ok(Value::Done)
            }
            Step::Load {
                cpu,
                mapping,
                page,
                word,
            } => {
                let va = self.target(cpu, mapping, page, word)?;
                let space = self.domains[self.running[cpu]?].space();
                fake::on_cpu(cpu, || fake::load(self.memory(), space, va)).map(Value::Word)
            }
            Step::Store {
                cpu,
                mapping,
                page,
                word,
                value,
            } => {
                let va = self.target(cpu, mapping, page, word)?;
                let space = self.domains[self.running[cpu]?].space();
                fake::on_cpu(cpu, || fake::store(self.memory(), space, va, value)).map(done)
            }
            Step::Fetch { cpu, mapping, page } => {
                let va = self.target(cpu, mapping, page, 0)?;
                let space = self.domains[self.running[cpu]?].space();
                fake::on_cpu(cpu, || {
                    fake::touch(self.memory(), space, va, Access::Execute)
                })
                .map(|_| Value::Done)
            }
            Step::Read {
                process,
                handle,
                page,
                word,
            } => {
                let handle = self.handle(process, handle)?;
                let offset = page * PAGE_SIZE + WORDS[word] as u64 * 8;
                let mut bytes = [0; 8];
                ipc.part_of_region(&self.domains[process], handle, Rights::READ, offset, 8)
                    .and_then(|(_, region, at, _)| {
                        self.memory().read_region(&region, at, &mut bytes)
                    })
                    .map(|()| Value::Word(u64::from_le_bytes(bytes)))
            }
            Step::Write {
                process,
                handle,
                page,
                word,
                value,
            } => {
                let handle = self.handle(process, handle)?;
                let offset = page * PAGE_SIZE + WORDS[word] as u64 * 8;
                let bytes = value.to_le_bytes();
                ipc.part_of_region(&self.domains[process], handle, Rights::WRITE, offset, 8)
                    .and_then(|(_, region, at, _)| self.memory().write_region(&region, at, &bytes))
                    .map(done)
            }
            Step::Grant {
                process,
                handle,
                to,
                mode,
                rights,
                flags,
                until,
                ..
            } => {
                let handle = self.handle(process, handle)?;
                let (domain, via) = (&self.domains[process], self.via[process][to]);
                ipc.grant(domain, handle, via, mode, rights, flags, until.0)
                    .map(Value::Token)
            }
            Step::Accept {
                process,
                token,
                from,
                ..
            } => {
                let domain = self.domain(process)?;
                let via = self.via[process][from];
                ipc.accept(domain, self.tokens[token]?, via)
                    .map(Value::Handle)
            }
            Step::Cancel { process, token } => {
                let domain = self.domain(process)?;
                ipc.cancel(domain, self.tokens[token]?).map(done)
            }
            Step::Exit { process } => {
                self.domain(process)?;
                self.exit(process);
                Ok(Value::Done)
            }
            Step::Start { process } => {
                if !self.ended[process] {
                    return None;
                }
                self.start(process).map(done)
            }
        })
    }
}
