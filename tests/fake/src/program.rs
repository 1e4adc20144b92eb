//! What a program does on the current CPU: accesses, whose faults `mm` resolves.

use std::sync::Arc;

use abi::{Error, Rights};
use mm::{AddressSpace, CpuId, Frame};

use crate::{Access, FakeMachine, PageFault, current_cpu, on_cpu};

/// The memory of a fake machine.
pub type Memory = mm::Memory<FakeMachine>;

/// Faults that one instruction may take before it must have succeeded.
const MAX_FAULTS: usize = 4;

/// Makes a CPU translate by a space, or by the kernel's own tables.
pub fn enter(memory: &Memory, cpu: CpuId, space: Option<&Arc<AddressSpace>>) {
    let kernel = memory.machine().kernel_root();
    on_cpu(cpu, || {
        memory.switch_space(space.map(|space| &**space), kernel)
    });
}

/// Reaches a page of the space that the current CPU has loaded, and returns its frame.
///
/// # Errors
/// Those of [`mm::Memory::fault`].
pub fn touch(
    memory: &Memory,
    space: &AddressSpace,
    va: u64,
    access: Access,
) -> Result<Frame, Error> {
    let cpu = current_cpu();
    resolved(memory, space, || {
        memory.machine().translate(cpu, va, access)
    })
}

/// Loads 8 bytes. Errors as for [`touch`].
pub fn load(memory: &Memory, space: &AddressSpace, va: u64) -> Result<u64, Error> {
    let cpu = current_cpu();
    resolved(memory, space, || memory.machine().read(cpu, va))
}

/// Stores 8 bytes. Errors as for [`touch`].
pub fn store(memory: &Memory, space: &AddressSpace, va: u64, value: u64) -> Result<(), Error> {
    let cpu = current_cpu();
    resolved(memory, space, || memory.machine().write(cpu, va, value))
}

/// Executes an instruction until it does not fault, as a CPU does.
fn resolved<T>(
    memory: &Memory,
    space: &AddressSpace,
    instruction: impl Fn() -> Result<T, PageFault>,
) -> Result<T, Error> {
    memory.machine().deliver(current_cpu());
    for _ in 0..MAX_FAULTS {
        match instruction() {
            Ok(value) => return Ok(value),
            Err(fault) => memory.fault(
                space,
                fault.va,
                match fault.access {
                    Access::Read => Rights::READ,
                    Access::Write => Rights::WRITE,
                    Access::Execute => Rights::EXECUTE,
                },
            )?,
        }
    }
    panic!("an instruction faults for ever although each fault was resolved");
}
