//! Links the programs at the usual address of an executable.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let bare = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none");
    if bare {
        println!("cargo::rustc-link-arg-bins=--image-base=0x400000");
        println!("cargo::rustc-link-arg-bins=--build-id=none");
        // The backtrace is the kernel's; programs only make the initrd larger.
        println!("cargo::rustc-link-arg-bins=--strip-debug");
    }
}
