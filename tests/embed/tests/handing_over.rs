//! A region from one process to another and back out of its reach, on the smallest machine.

use std::sync::Arc;

use abi::{Error, GrantFlags, MapFlags, Mode, RegionFlags, Rights};
use embed::{KERNEL_ROOT, Machine};
use ipc::{Ipc, Payload};
use mm::Frames;

type Domain = ipc::Domain<Machine>;

const FRAMES: usize = 256;

struct Kernel {
    ipc: Ipc<Machine>,
    running: Option<Arc<Domain>>,
}

impl Kernel {
    /// The switch of processes.
    fn run(&mut self, next: Option<&Arc<Domain>>) {
        let space = next.map(|domain| &**domain.space());
        self.ipc.memory().switch_space(space, KERNEL_ROOT);
        self.running = next.cloned();
    }

    /// An instruction of the process that runs: it faults, the kernel resolves that, it goes on.
    fn touch(&self, va: u64, write: Option<u8>) -> Result<u8, Error> {
        let running = self.running.as_ref().expect("a process runs");
        let access = if write.is_some() {
            Rights::WRITE
        } else {
            Rights::READ
        };
        let machine = self.ipc.platform();
        let frame = loop {
            if let Some(frame) = machine.translate(va, write.is_some()) {
                break frame;
            }
            self.ipc.memory().fault(running.space(), va, access)?;
        };
        let offset = (va % 4096) as usize;
        let mut byte = [0];
        match write {
            Some(value) => machine.write(frame, offset, &[value]),
            None => machine.read(frame, offset, &mut byte),
        }
        Ok(write.unwrap_or(byte[0]))
    }
}

#[test]
fn a_region_is_shared_mapped_used_and_revoked() {
    let mut kernel = Kernel {
        ipc: Ipc::new(Machine::new(FRAMES)),
        running: None,
    };
    let create = |kernel: &Kernel| {
        kernel
            .ipc
            .create_domain(kernel.ipc.memory().account(), 0x4000_0000)
            .unwrap()
    };
    let (alice, bob) = (create(&kernel), create(&kernel));
    let process = |kernel: &Kernel, holder, of: &Domain| {
        let payload = Payload::Process(embed::Process::of(of.koid()));
        let installed = kernel.ipc.install_object(holder, payload, Rights::PROCESS);
        installed.unwrap()
    };
    let to_bob = process(&kernel, &alice, &bob);
    let from_alice = process(&kernel, &bob, &alice);

    // Alice makes a region, maps it and writes into it.
    let mine = kernel
        .ipc
        .create_region(&alice, 10_000, RegionFlags::empty(), None)
        .unwrap();
    let (both, flags) = (Rights::READ | Rights::WRITE, MapFlags::empty());
    let here = kernel.ipc.map(&alice, mine, 0, 0, 0, both, flags).unwrap();
    kernel.run(Some(&alice));
    assert_eq!(kernel.touch(here + 5000, Some(42)), Ok(42));

    // She offers it to Bob for reading. The token travels by any way that they have.
    let granted = Rights::READ | Rights::MAP;
    let token = kernel
        .ipc
        .grant(
            &alice,
            mine,
            to_bob,
            Mode::Share,
            granted,
            GrantFlags::empty(),
            abi::FOREVER,
        )
        .unwrap();
    let theirs = kernel.ipc.accept(&bob, token, from_alice).unwrap();
    let refused = kernel.ipc.map(&bob, theirs, 0, 0, 0, both, flags);
    assert_eq!(refused, Err(Error::Denied));
    let there = kernel
        .ipc
        .map(&bob, theirs, 0, 0, 0, Rights::READ, flags)
        .unwrap();
    kernel.run(Some(&bob));
    assert_eq!(kernel.touch(there + 5000, None), Ok(42));
    assert_eq!(kernel.touch(there + 5000, Some(1)), Err(Error::Denied));

    // She takes it back: Bob's mapping is gone when the call returns, and hers is not.
    assert_eq!(
        kernel.ipc.revoke(&alice, mine, abi::RevokeFlags::empty()),
        Ok(1)
    );
    assert_eq!(kernel.touch(there + 5000, None), Err(Error::Revoked));
    kernel.run(Some(&alice));
    assert_eq!(kernel.touch(here + 5000, None), Ok(42));

    // Both end, and every frame is back.
    kernel.run(None);
    for domain in [alice, bob] {
        kernel.ipc.clear_domain(&domain);
        kernel.ipc.memory().destroy_space(domain.space());
    }
    assert_eq!(kernel.ipc.object_count(), 0);
    assert_eq!(kernel.ipc.platform().free_frames(), FRAMES as u64);
}
