//! Hubs as no hub can be, and those whose rings can't.

use rt::Error;
use rt::hub::{Host, HubGeometry};

use crate::Case;
use crate::calls::hub_create;

pub fn shapes(_: &Case) {
    for bad in abi::impossible::HUBS {
        refused!(hub_create(bad).map(drop), Error::Invalid, "{bad:?}");
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
