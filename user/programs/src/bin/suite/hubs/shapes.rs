//! Hubs as no hub can be, and those whose rings can't.

use rt::Error;
use rt::hub::{Host, HubGeometry};

use crate::Case;
use crate::calls::hub_create;

pub fn shapes(_: &Case) {
    let good = HubGeometry::slot(2, 64, 8, 8);
    for bad in [
        HubGeometry { guests: 0, ..good },
        HubGeometry {
            guests: 256,
            ..good
        },
        HubGeometry {
            guests: u32::MAX,
            ..good
        },
        HubGeometry { kind: 0, ..good },
        HubGeometry { kind: 9, ..good },
        HubGeometry {
            reserved: 1,
            ..good
        },
        HubGeometry {
            heartbeat_ns: 1 << 62,
            ..good
        },
        HubGeometry::slot(2, 0, 8, 8),
        HubGeometry::slot(2, 65, 8, 8),
        HubGeometry::slot(2, 65536 + 64, 8, 8),
        HubGeometry::slot(2, u32::MAX, 8, 8),
        HubGeometry::slot(2, 64, 0, 8),
        HubGeometry::slot(2, 64, 8, 0),
        HubGeometry::slot(2, 64, 3, 8),
        HubGeometry::slot(2, 64, 8, 1 << 31 | 1),
        HubGeometry::slot(2, 64, u32::MAX, u32::MAX),
        HubGeometry::byte(2, 0, 4096),
        HubGeometry::byte(2, 4096, 2048),
        HubGeometry::packet(2, 6000, 4096),
        HubGeometry {
            slot_size: 64,
            ..HubGeometry::packet(2, 4096, 4096)
        },
    ] {
        refused!(hub_create(&bad).map(drop), Error::Invalid, "{bad:?}");
    }
    // Rings are made for a guest: larger than a region can be, and than memory is.
    for (geometry, error) in [
        (HubGeometry::slot(1, 65536, 1 << 31, 8), Error::TooLarge),
        (HubGeometry::slot(1, 65536, 8, 1 << 31), Error::TooLarge),
        (HubGeometry::slot(1, 64, 1 << 31, 8), Error::NoMemory),
        (HubGeometry::byte(1, 4096, 1 << 31), Error::NoMemory),
    ] {
        let host = done!(Host::create(&geometry), "{geometry:?}");
        refused!(host.reserve().map(drop), error, "{geometry:?}");
    }
}
