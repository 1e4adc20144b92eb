//! What `draw` draws: a ring over the whole width of the screen, so that it is complete only when
//! both processes have drawn their half. Integers only; a pixel depends on nothing but its place.

use noto_sans_mono_bitmap::{
    FontWeight, RasterHeight, RasterizedChar, get_raster, get_raster_width,
};

/// Pixels of a line.
pub const WIDTH: u32 = 1024;
/// Lines.
pub const HEIGHT: u32 = 768;
/// Bytes of the picture, 4 a pixel: blue, green, red and nothing.
pub const BYTES: u64 = WIDTH as u64 * HEIGHT as u64 * 4;
/// The status of `draw` when its second process has ended before its half was drawn.
pub const HALF_MISSING: u8 = 3;

/// The centre of the ring.
const CENTRE: (i32, i32) = (512, 440);
const OUTER: i32 = 230;
const INNER: i32 = 140;
/// Half the gap between two slots.
const GAP: i32 = 5;
/// Slots of the ring, and those of them that hold a message.
const SLOTS: usize = 16;
const FILLED: core::ops::Range<usize> = 2..12;

/// Parts of a pixel that distances are counted in.
const FINE: i32 = 16;
/// The length of the vectors in [`SPOKES`].
const UNIT: i32 = 1024;

/// Where the gaps are: directions of 11.25° and every 22.5° from there, clockwise from the top.
const SPOKES: [(i32, i32); SLOTS] = [
    (200, -1004),
    (569, -851),
    (851, -569),
    (1004, -200),
    (1004, 200),
    (851, 569),
    (569, 851),
    (200, 1004),
    (-200, 1004),
    (-569, 851),
    (-851, 569),
    (-1004, 200),
    (-1004, -200),
    (-851, -569),
    (-569, -851),
    (-200, -1004),
];

/// Red, green and blue.
type Colour = [i32; 3];

const TOP_LEFT: Colour = [0x1d, 0x14, 0x2b];
const TOP_RIGHT: Colour = [0x0d, 0x1f, 0x2e];
const BOTTOM_LEFT: Colour = [0x4a, 0x24, 0x3c];
const BOTTOM_RIGHT: Colour = [0x10, 0x4a, 0x55];
const WARM: Colour = [0xff, 0x9e, 0x64];
const COOL: Colour = [0x6c, 0xdd, 0xe8];
const EMPTY: Colour = [0x2c, 0x2e, 0x48];
const WHITE: Colour = [0xf4, 0xf1, 0xea];
const GREY: Colour = [0xb4, 0xb2, 0xc4];

/// A line of text.
struct Label {
    text: &'static str,
    /// The middle of the line, and its upper edge.
    at: (i32, i32),
    size: RasterHeight,
    weight: FontWeight,
    doubled: bool,
    colour: Colour,
}

impl Label {
    const fn small(text: &'static str, at: (i32, i32), colour: Colour) -> Label {
        Label {
            text,
            at,
            size: RasterHeight::Size20,
            weight: FontWeight::Regular,
            doubled: false,
            colour,
        }
    }

    /// How much of a pixel is ink, of 255.
    fn ink(&self, x: i32, y: i32) -> i32 {
        let scale = if self.doubled { 2 } else { 1 };
        let advance = get_raster_width(self.weight, self.size) as i32 * scale;
        let left = self.at.0 - advance * self.text.len() as i32 / 2;
        let (x, y) = (x - left, y - self.at.1);
        if x < 0 || y < 0 || y >= self.size.val() as i32 * scale {
            return 0;
        }
        let Some(&letter) = self.text.as_bytes().get((x / advance) as usize) else {
            return 0;
        };
        let Some(raster) = get_raster(char::from(letter), self.weight, self.size) else {
            return 0;
        };
        let x = x % advance;
        if !self.doubled {
            return texel(&raster, x, y);
        }
        // Between the middles of two neighbours: three quarters of the near, one of the far.
        let (near_x, far_x) = (x / 2, x / 2 + if x % 2 == 0 { -1 } else { 1 });
        let (near_y, far_y) = (y / 2, y / 2 + if y % 2 == 0 { -1 } else { 1 });
        let line = |y| 3 * texel(&raster, near_x, y) + texel(&raster, far_x, y);
        (3 * line(near_y) + line(far_y)) / 16
    }
}

fn texel(raster: &RasterizedChar, x: i32, y: i32) -> i32 {
    let line = usize::try_from(y).ok().and_then(|y| raster.raster().get(y));
    let byte = usize::try_from(x)
        .ok()
        .and_then(|x| line.and_then(|line| line.get(x)));
    byte.copied().map_or(0, i32::from)
}

const LABELS: [Label; 7] = [
    Label {
        text: "Handover",
        at: (512, 56),
        size: RasterHeight::Size32,
        weight: FontWeight::Bold,
        doubled: true,
        colour: WHITE,
    },
    Label::small("one framebuffer, two processes", (512, 132), GREY),
    Label::small("a region of", (512, 408), GREY),
    Label::small("device memory,", (512, 432), GREY),
    Label::small("by Share", (512, 456), GREY),
    Label::small("drawn by who made the region", (256, 712), WARM),
    Label::small("drawn by who was given it", (768, 712), COOL),
];

/// The colour of a pixel, as `0x00RRGGBB`.
pub fn pixel(x: u32, y: u32) -> u32 {
    let (x, y) = (x as i32, y as i32);
    let mut colour = background(x, y);
    if let Some((slot, cover)) = ring(x, y) {
        let filled = FILLED.contains(&slot);
        let bright = mix(WARM, COOL, (x - CENTRE.0 + OUTER) * 256 / (2 * OUTER));
        let slot = if filled {
            bright
        } else {
            mix(EMPTY, bright, 24)
        };
        colour = mix(colour, slot, cover);
    }
    for label in &LABELS {
        let ink = label.ink(x, y);
        colour = mix(colour, label.colour, ink * 256 / 255);
    }
    colour.iter().fold(0, |all, part| all << 8 | *part as u32)
}

/// A slope from corner to corner, with a dotted line where the two halves meet.
fn background(x: i32, y: i32) -> Colour {
    let across = x * 256 / WIDTH as i32;
    let top = mix(TOP_LEFT, TOP_RIGHT, across);
    let bottom = mix(BOTTOM_LEFT, BOTTOM_RIGHT, across);
    let colour = mix(top, bottom, y * 256 / HEIGHT as i32);
    // Not through the text in the middle of the ring.
    let seam = x == WIDTH as i32 / 2 && y % 12 < 4 && y > 172 && (y - CENTRE.1).abs() > INNER;
    if seam { mix(colour, GREY, 96) } else { colour }
}

/// The slot that a pixel belongs to, and how much of the pixel it covers, of 256.
fn ring(x: i32, y: i32) -> Option<(usize, i32)> {
    let (dx, dy) = ((x - CENTRE.0) * FINE, (y - CENTRE.1) * FINE);
    if dx.abs() > (OUTER + 1) * FINE || dy.abs() > (OUTER + 1) * FINE {
        return None;
    }
    let radius = (dx * dx + dy * dy).isqrt();
    // Clockwise behind spoke i - 1 and before spoke i.
    let beyond = |spoke: (i32, i32)| spoke.0 * dy - spoke.1 * dx;
    let slot = (0..SLOTS).find(|&slot| {
        beyond(SPOKES[slot]) < 0 && beyond(SPOKES[(slot + SLOTS - 1) % SLOTS]) >= 0
    })?;
    let to_next = -beyond(SPOKES[slot]) / UNIT;
    let to_last = beyond(SPOKES[(slot + SLOTS - 1) % SLOTS]) / UNIT;
    let inside = (OUTER * FINE - radius)
        .min(radius - INNER * FINE)
        .min(to_next - GAP * FINE)
        .min(to_last - GAP * FINE);
    let cover = (inside + FINE / 2).clamp(0, FINE) * 256 / FINE;
    (cover > 0).then_some((slot, cover))
}

/// `share` of 256 of the second colour, the rest of the first.
fn mix(first: Colour, second: Colour, share: i32) -> Colour {
    let share = share.clamp(0, 256);
    core::array::from_fn(|part| (first[part] * (256 - share) + second[part] * share) / 256)
}
