//! Links the kernel with its own layout.

fn main() {
    println!("cargo::rerun-if-changed=link.ld");
    let on_hardware = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none");
    if on_hardware {
        let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
        println!("cargo::rustc-link-arg-bins=-T{directory}/link.ld");
        println!("cargo::rustc-link-arg-bins=-znorelro");
        println!("cargo::rustc-link-arg-bins=--build-id=none");
    }
}
