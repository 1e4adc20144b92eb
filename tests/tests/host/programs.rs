//! Which ELF files the runner takes, and what it says about the others.

use handover_tests::program::check;

/// Flags of a segment of text.
const READ_EXECUTE: u32 = 5;
/// Flags of a segment of data.
const READ_WRITE: u32 = 6;
/// Flags that no segment may have.
const ALL: u32 = 7;

/// A segment to load: address, size in memory, flags.
type Segment = (u64, u64, u32);

/// A static executable with these segments and its entry point at the first.
fn executable(segments: &[Segment]) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    let entry = segments.first().map_or(0, |segment| segment.0);
    let count = u16::try_from(segments.len()).expect("few segments");
    bytes.extend(2_u16.to_le_bytes()); // executable
    bytes.extend(62_u16.to_le_bytes()); // x86_64
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(entry.to_le_bytes());
    bytes.extend(64_u64.to_le_bytes()); // program headers follow
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    for field in [64, 56, count, 64, 0, 0] {
        bytes.extend(field.to_le_bytes());
    }
    for &(address, size, flags) in segments {
        bytes.extend(1_u32.to_le_bytes()); // load
        bytes.extend(flags.to_le_bytes());
        for field in [0, address, address, 64, size, 4096] {
            bytes.extend(field.to_le_bytes());
        }
    }
    bytes
}

fn refused(bytes: &[u8], why: &str) {
    let reason = check(bytes).expect_err("this can't run");
    assert!(reason.contains(why), "{reason}");
}

#[test]
fn a_static_executable_is_taken() {
    assert_eq!(
        check(&executable(&[
            (0x20_0000, 4096, READ_EXECUTE),
            (0x40_0000, 64, READ_WRITE)
        ])),
        Ok(())
    );
}

#[test]
fn a_position_independent_executable_is_taken() {
    let mut program = executable(&[(0x1000, 4096, READ_EXECUTE), (0x3000, 64, READ_WRITE)]);
    program[16] = 3;
    assert_eq!(check(&program), Ok(()));
}

#[test]
fn each_reason_is_told_apart() {
    let good = executable(&[(0x20_0000, 4096, READ_EXECUTE)]);
    let with = |offset: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[offset] = byte;
        bytes
    };
    refused(b"", "not an ELF file");
    refused(b"#!/bin/sh", "not an ELF file");
    refused(&with(4, 1), "not a 64-bit");
    refused(&with(18, 183), "another machine");
    refused(&with(16, 1), "not an executable");
    refused(
        &executable(&[(0x1f_f000, 4096, READ_EXECUTE)]),
        "below 0x200000",
    );
    refused(&with(64, 3), "dynamically linked");
    refused(&with(64, 4), "nothing to load");
    refused(&with(26, 0xff), "in no segment");
    refused(&with(96, 0xff), "truncated");
    refused(
        &executable(&[(0x20_0000, 4096, ALL)]),
        "writable and executable",
    );
    refused(&executable(&[(0x20_0000, 32, READ_EXECUTE)]), "truncated");
    refused(
        &executable(&[(1 << 47, 4096, READ_EXECUTE)]),
        "outside the user half",
    );
    refused(
        &executable(&[(u64::MAX - 100, 4096, READ_EXECUTE)]),
        "outside the user half",
    );
    let overlapping = [(0x20_0000, 4097, READ_EXECUTE), (0x20_1000, 64, READ_WRITE)];
    refused(&executable(&overlapping), "overlap");
}

#[test]
fn no_truncation_is_taken_or_panics() {
    let good = executable(&[(0x20_0000, 4096, READ_EXECUTE)]);
    for length in 0..good.len() {
        assert!(check(&good[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn no_single_wrong_byte_panics() {
    let good = executable(&[(0x20_0000, 4096, READ_EXECUTE), (0x40_0000, 64, READ_WRITE)]);
    for offset in 0..good.len() {
        for byte in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[offset] = byte;
            let _ = check(&bytes);
        }
    }
}

#[test]
fn a_program_under_a_taken_name_is_refused() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, executable(&[(0x20_0000, 4096, READ_EXECUTE)])).expect("it is written");
    let fakes = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("emulators");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_handover"))
        .arg("--program")
        .arg(format!("{}:init", file.path().display()))
        .env("HANDOVER_QEMU", fakes.join("orderly"))
        .env("CARGO", fakes.join("cargo"))
        .output()
        .expect("the runner starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("already a program init"));
}
