//! What programs should not foresee, such as where mappings begin: repeatable with a seed.

use abi::limits::{USER_END, USER_START};
use fastrand::Rng;
use spin::{Mutex, Once};

static GENERATOR: Once<Mutex<Rng>> = Once::new();

/// Mappings cluster in windows of this size, whose upper tables a space keeps.
const WINDOW: u64 = 1 << 30;

/// Starts the generator.
pub fn init(seed: u64) {
    GENERATOR.call_once(|| Mutex::new(Rng::with_seed(seed)));
}

/// Any number; 0 before the generator was started.
pub fn word() -> u64 {
    GENERATOR
        .get()
        .map_or(0, |generator| generator.lock().u64(..))
}

/// The base of the mappings of a new process: the beginning of a random GiB, above where programs
/// are linked.
pub fn mapping_base() -> u64 {
    let windows = USER_START.div_ceil(WINDOW) + 64..USER_END / WINDOW / 2;
    let window = match GENERATOR.get() {
        Some(generator) => generator.lock().u64(windows),
        None => windows.start,
    };
    window * WINDOW
}
