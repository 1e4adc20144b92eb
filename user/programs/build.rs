//! Links the programs at the usual address of an executable, and lists the scripts that the fuzzers have kept.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Where they are, from here.
const CORPUS: &str = "../../ring/fuzz/corpus";

/// Who plays them.
const PLAYERS: [&str; 3] = ["hostile_peer", "hostile_guest", "hostile_process"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={CORPUS}");
    PLAYERS.into_iter().for_each(list_scripts);
    let bare = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none");
    if bare {
        println!("cargo::rustc-link-arg-bins=--image-base=0x400000");
        println!("cargo::rustc-link-arg-bins=--build-id=none");
        // The backtrace is the kernel's; programs only make the initrd larger.
        println!("cargo::rustc-link-arg-bins=--strip-debug");
    }
}

/// An array of what is in the corpus of a player, as an expression for `include!`.
fn list_scripts(player: &str) {
    let here = env::var("CARGO_MANIFEST_DIR").expect("cargo says where it is");
    let corpus =
        fs::read_dir(Path::new(&here).join(CORPUS).join(player)).expect("the corpus is kept");
    let mut scripts: Vec<PathBuf> = corpus
        .map(|script| script.expect("it can be listed").path())
        .collect();
    scripts.sort();
    let included = scripts
        .iter()
        .map(|path| format!("include_bytes!({path:?}).as_slice(),\n"));
    let list = format!("[\n{}]\n", included.collect::<String>());
    let out = env::var("OUT_DIR").expect("cargo says where it goes");
    fs::write(Path::new(&out).join(format!("{player}.rs")), list).expect("it can be written");
}
