//! Where frames come from on machines with several NUMA nodes, and what is counted of it.

use rt::{NodeFrames, RegionFlags, SystemInfo};

use super::PAGE;
use crate::Case;
use crate::calls::{region_create, region_destroy};

/// Frames beyond what a node has.
const BEYOND: u64 = 100;

fn info() -> SystemInfo {
    done!(rt::system_info(), "system_info")
}

/// What making and destroying a region with all its pages adds to what each node has given.
fn given(pages: u64, node: u64) -> [NodeFrames; 8] {
    let before = info().memory_nodes;
    let region = done!(
        region_create(pages * PAGE, RegionFlags::COMMIT, node),
        "{pages} pages of node {node}"
    );
    let with = info().memory_nodes;
    done!(region_destroy(region), "destroying");
    let after = info().memory_nodes;
    core::array::from_fn(|index| {
        let (before, with, after) = (&before[index], &with[index], &after[index]);
        if index as u64 == node {
            // As many frames come back as were taken, however long the region was said to be.
            same!(after.free, before.free, "free frames of node {index}");
        }
        NodeFrames {
            total: before.total,
            free: with.free,
            given_as_asked: with.given_as_asked - before.given_as_asked,
            given_elsewhere: with.given_elsewhere - before.given_elsewhere,
            given_unasked: with.given_unasked - before.given_unasked,
        }
    })
}

pub fn nodes(_: &Case) {
    let count = u64::from(info().nodes);
    for node in 0..count {
        let given = given(8, node);
        for (index, other) in given.iter().enumerate() {
            let asked = if index as u64 == node { 8 } else { 0 };
            same!(
                (other.given_as_asked, other.given_elsewhere),
                (asked, 0),
                "what node {index} gave to who asked for node {node}"
            );
        }
    }

    let unasked = given(8, u64::MAX);
    let sum: u64 = unasked.iter().map(|node| node.given_unasked).sum();
    check!(
        sum >= 8,
        "{sum} of 8 frames were given to who asked for no node"
    );
    let asked = |node: &NodeFrames| node.given_as_asked + node.given_elsewhere;
    same!(
        unasked.iter().map(asked).sum::<u64>(),
        0,
        "frames for a node that nobody asked for"
    );

    if count == 1 {
        return;
    }
    let last = count as usize - 1;
    let pages = info().memory_nodes[last].free + BEYOND;
    let given = given(pages, count - 1)[last];
    check!(
        given.given_elsewhere >= BEYOND,
        "{} frames were given elsewhere, and the node had {BEYOND} too few",
        given.given_elsewhere
    );
    check!(
        asked(&given) >= pages,
        "{} of {pages} frames are counted",
        asked(&given)
    );
    // What other CPUs keep of the node is all that is left.
    check!(
        given.free <= 64 * u64::from(info().cpus),
        "{} frames of the node were left when others had to give",
        given.free
    );
}
