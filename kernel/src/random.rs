//! What programs should not foresee, such as where mappings begin: repeatable with a seed.

use abi::limits::{PLACED_FROM, USER_END};
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

/// The base of the mappings of a new process: the beginning of a random GiB, above the places that programs
/// choose themselves. What a process is given before it begins would be in their way, if seldom.
pub fn mapping_base() -> u64 {
    let windows = match mm::sabotaged!("placed_where_programs_choose") {
        true => 64..PLACED_FROM / WINDOW,
        false => PLACED_FROM / WINDOW..USER_END / WINDOW / 2,
    };
    let window = match GENERATOR.get() {
        Some(generator) => generator.lock().u64(windows),
        None => windows.start,
    };
    window * WINDOW
}
