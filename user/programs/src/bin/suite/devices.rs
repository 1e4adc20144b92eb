//! Resources and device regions. The device is the configuration space of the PCI bus, whose first
//! word is the vendor and device of the host bridge.

use abi::Syscall;
use rt::{
    CachePolicy, Env, Error, Handle, MapFlags, Mode, Region, RegionFlags, ResourceInfo, Rights,
};

use crate::Case;
use crate::calls::{
    READ_WRITE, cap_derive, cap_drop, cap_revoke, map, map_all, peek_u32, raw, region,
    region_device, region_info, region_seal, resource_part, unmap,
};
use crate::check::{PAGE_FAULT, exits, wait};

const PAGE: u64 = 4096;
/// Where usable memory begins on every machine that this runs on.
const MEMORY: u64 = 1 << 20;
/// The window of old graphics adapters: no memory, and nobody's here.
pub const WINDOW: u64 = 0xa_0000;

fn space(case: &Case) -> ResourceInfo {
    let info = done!(rt::resource_info(case.devices), "resource_info");
    check!(
        info.configuration_len > 0,
        "the firmware tells of no configuration space"
    );
    info
}

pub fn not_memory(case: &Case) {
    let info = space(case);
    same!(info.address, 0, "where all devices begin");
    let local_apic = 0xfee0_0000;
    let memory = done!(rt::system_info(), "system_info").frames_total * PAGE;
    for (address, len) in [
        (MEMORY, PAGE),
        (MEMORY - PAGE, 2 * PAGE),
        (2 << 20, PAGE),
        (2 << 20, 2 << 20),
        (memory / 2 / PAGE * PAGE, PAGE),
        (0, 4 << 30),
        (MEMORY, memory),
        (local_apic, PAGE),
        (local_apic - PAGE, 2 * PAGE),
        (local_apic, 2 * PAGE),
    ] {
        for policy in CachePolicy::ALL {
            refused!(
                region_device(case.devices, address, len, policy),
                Error::Overlap,
                "{len:#x} bytes at {address:#x} as a device"
            );
        }
    }
}

pub fn bad_ranges(case: &Case) {
    let info = space(case);
    let end = info.address + info.len;
    for (address, len, error) in [
        (WINDOW + 1, PAGE, Error::Align),
        (WINDOW, PAGE + 1, Error::Align),
        (WINDOW, u64::MAX, Error::Align),
        (WINDOW, 0, Error::Invalid),
        (end, PAGE, Error::Range),
        (end - PAGE, 2 * PAGE, Error::Range),
        (1 << 52, PAGE, Error::Range),
        (WINDOW, 0u64.wrapping_sub(PAGE), Error::Range),
        (0u64.wrapping_sub(PAGE), PAGE, Error::Range),
    ] {
        let range = format_args!("{len:#x} bytes at {address:#x}");
        let made = region_device(case.devices, address, len, CachePolicy::Uncached);
        refused!(made, error, "a region of {range}");
        let part = resource_part(case.devices, address, len);
        refused!(part, error, "a part of {range}");
    }
    let device = |policy| {
        let arguments = [case.devices.bits(), WINDOW, PAGE, policy, 0, 0];
        raw(Syscall::RegionDevice as u64, arguments)
    };
    let memory = |policy| {
        let arguments = [
            PAGE,
            RegionFlags::empty().bits().into(),
            policy,
            u64::MAX,
            0,
            0,
        ];
        raw(Syscall::RegionCreate as u64, arguments)
    };
    for unknown in [4, 7, 1 << 31, 1 << 32, u64::MAX] {
        same!(device(unknown), Err(Error::Invalid), "policy {unknown:#x}");
        same!(memory(unknown), Err(Error::Invalid), "policy {unknown:#x}");
    }
    for policy in 1..4 {
        same!(
            memory(policy),
            Err(Error::Unsupported),
            "memory by policy {policy}"
        );
    }
}

pub fn one_policy(case: &Case) {
    let make = |policy| region_device(case.devices, WINDOW, 2 * PAGE, policy);
    let first = done!(make(CachePolicy::WriteCombining), "a region");
    let second = done!(make(CachePolicy::WriteCombining), "the same once more");
    refused!(
        make(CachePolicy::Uncached),
        Error::Exists,
        "a second policy for the same pages"
    );
    let start = map_all(first, READ_WRITE);
    done!(cap_drop(first), "dropping");
    done!(cap_drop(second), "dropping");
    refused!(
        make(CachePolicy::Uncached),
        Error::Exists,
        "a second policy while the first is mapped"
    );
    done!(unmap(start), "unmapping");
    let other = done!(
        make(CachePolicy::Uncached),
        "another policy after the first"
    );
    refused!(region_seal(other), Error::Unsupported, "sealing a device");
}

/// The first word of the configuration space, by a mapping of its own.
fn host_bridge(region: Handle) -> u32 {
    let start = map_all(region, READ_WRITE);
    let word = peek_u32(start);
    done!(unmap(start), "unmapping");
    word
}

pub fn registers(case: &Case) {
    let info = space(case);
    let bus = region_device(
        case.devices,
        info.configuration,
        1 << 20,
        CachePolicy::Uncached,
    );
    let bus = done!(bus, "a region of the first bus");
    let facts = done!(region_info(bus), "region_info");
    same!(
        (facts.len, facts.present_pages, facts.leaf_tables),
        (1 << 20, 256, 1),
        "a region of 256 pages"
    );
    let word = host_bridge(bus);
    check!(
        word & 0xffff == 0x8086,
        "{word:#x} is no host bridge of this machine"
    );
    let part = done!(
        resource_part(case.devices, info.configuration, PAGE),
        "a part"
    );
    refused!(
        region_device(part, info.configuration + PAGE, PAGE, CachePolicy::Uncached),
        Error::Range,
        "more than the part"
    );
    let page = region_device(part, info.configuration, PAGE, CachePolicy::Uncached);
    same!(
        host_bridge(done!(page, "a region of one function")),
        word,
        "the same by a part"
    );
    refused!(
        map(
            bus,
            0,
            0,
            0,
            Rights::READ | Rights::EXECUTE,
            MapFlags::empty()
        ),
        Error::Denied,
        "executing a device"
    );
    let memory = region(PAGE);
    refused!(
        region_device(memory, WINDOW, PAGE, CachePolicy::Uncached),
        Error::WrongKind,
        "memory as a resource"
    );
}

pub fn handed_over(case: &Case) {
    let info = space(case);
    let policy = CachePolicy::Uncached;
    let bus = done!(
        region_device(case.devices, info.configuration, PAGE, policy),
        "a region"
    );
    let word = host_bridge(bus);
    let reader = |handle, mode| {
        let child = case
            .child("read_device")
            .handle(handle, mode, Rights::all());
        done!(child.start(), "starting a child")
    };
    exits(&reader(bus, Mode::Share), word & 0xff);
    same!(host_bridge(bus), word, "what is left after Share");

    // A child that goes on reading faults when what it was given is revoked.
    let below = done!(cap_derive(bus, Rights::all()), "deriving");
    let child = case
        .child("keep_reading_device")
        .handle(below, Mode::Share, Rights::all())
        .cpus(u64::MAX);
    let child = done!(child.start(), "starting a child");
    while done!(region_info(bus), "region_info").mappings == 0 {
        crate::calls::yield_now();
    }
    done!(cap_revoke(bus), "revoking");
    same!(wait(&child).vector, PAGE_FAULT, "the end of the reader");

    exits(&reader(bus, Mode::Move), word & 0xff);
    refused!(region_info(bus), Error::BadHandle, "what was moved");
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    let read = || {
        let region = Region::from_handle(env.handle(0));
        let view = done!(rt::Registers::map(&region), "mapping a device");
        view.read::<u32>(0)
    };
    match role {
        "read_device" => Some(read() as u8),
        "keep_reading_device" => {
            let start = map_all(env.handle(0), Rights::READ);
            loop {
                let _ = peek_u32(start);
            }
        }
        _ => None,
    }
}
