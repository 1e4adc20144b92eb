//! An honest machine for host tests: real page-table bytes, TLBs that stay stale.
