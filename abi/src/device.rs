//! Device memory: which physical addresses a capability covers, and how CPUs cache them.

use core::fmt;

use static_assertions::const_assert_eq;

use crate::{Argument, Error};

/// How CPUs cache the pages of a region (Intel SDM volume 3, section 12.3). A region has one
/// policy, and no frame ever has two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CachePolicy {
    /// Reads and writes are cached. The only policy of memory.
    #[default]
    WriteBack = 0,
    /// Reads are cached, writes go to the device as well.
    WriteThrough = 1,
    /// Every access reaches the device, in the order of the program. For registers.
    Uncached = 2,
    /// Writes are gathered and may reach the device late and in another order; reads are not
    /// cached. For framebuffers.
    WriteCombining = 3,
}

impl CachePolicy {
    /// All of them, by number.
    pub const ALL: [CachePolicy; 4] = [
        CachePolicy::WriteBack,
        CachePolicy::WriteThrough,
        CachePolicy::Uncached,
        CachePolicy::WriteCombining,
    ];

    /// The policy of this number.
    pub const fn from_code(code: u64) -> Option<CachePolicy> {
        match code {
            0 => Some(CachePolicy::WriteBack),
            1 => Some(CachePolicy::WriteThrough),
            2 => Some(CachePolicy::Uncached),
            3 => Some(CachePolicy::WriteCombining),
            _ => None,
        }
    }
}

impl Argument for CachePolicy {
    const NAME: &'static str = "CachePolicy";
    const C_NAME: &'static str = "uint32_t";

    fn from_raw(raw: u64) -> Result<Self, Error> {
        CachePolicy::from_code(raw).ok_or(Error::Invalid)
    }

    fn into_raw(self) -> u64 {
        self as u64
    }

    fn show(raw: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::from_raw(raw) {
            Ok(policy) => write!(f, "{policy:?}"),
            Err(_) => write!(f, "{raw:#x}"),
        }
    }
}

/// Facts about a resource, from `resource_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ResourceInfo {
    /// The first physical address that it covers.
    pub address: u64,
    /// Bytes that it covers. Memory within them is not to be had by it.
    pub len: u64,
    /// Where the configuration space of the PCI Express buses is (bus 0 first, 1 MiB a bus); 0 if
    /// the firmware tells none, or it is not all within the resource.
    pub configuration: u64,
    /// Bytes of that configuration space.
    pub configuration_len: u64,
}

const_assert_eq!(size_of::<ResourceInfo>(), 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_survive_the_register_and_others_are_invalid() {
        for policy in CachePolicy::ALL {
            assert_eq!(CachePolicy::from_raw(policy.into_raw()), Ok(policy));
        }
        for raw in [4, 1 << 32, u64::MAX] {
            assert_eq!(CachePolicy::from_raw(raw), Err(Error::Invalid));
        }
    }
}

/// Where a device has to write for an interrupt, from `interrupt_create` (PCI Local Bus Specification
/// 3.0, 6.8.1: message address and message data).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct InterruptInfo {
    /// The address.
    pub address: u64,
    /// The data.
    pub data: u32,
    /// 0.
    pub reserved: u32,
}

const_assert_eq!(size_of::<InterruptInfo>(), 16);
