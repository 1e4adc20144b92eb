//! The scripts that the fuzzer has kept. The tests of two packages include this file.

use std::fs;
use std::path::Path;

/// Plays every script that was kept for a player.
pub fn play_all(player: &str, play: impl Fn(&[u8])) {
    let corpora = concat!(env!("CARGO_MANIFEST_DIR"), "/../ring/fuzz/corpus");
    let mut played = 0;
    for script in fs::read_dir(Path::new(corpora).join(player)).unwrap() {
        play(&fs::read(script.unwrap().path()).unwrap());
        played += 1;
    }
    assert!(played > 20, "only {played} scripts");
}
