//! Renders the contract for people: `docs/abi.md` and `docs/handover.h`. A test compares the
//! files with what is rendered.

use alloc::string::String;
use core::fmt::Write;

use crate::{Error, Rights, SYSCALLS, SyscallInfo, VERSION};

/// The contract as Markdown.
pub fn markdown() -> String {
    let mut out = String::new();
    let _ = write!(
        out,
        "# The system calls of Handover\n\n\
         Rendered from the table in `abi/src/table.rs` (version {VERSION}); do not edit. \
         `make doc` writes it anew.\n\n\
         `syscall` with the number in `rax` and the arguments in `rdi rsi rdx r10 r8 r9`; `rax` \
         returns the result (≥ 0) or minus an error; `rcx` and `r11` are lost, every other register \
         is kept. An unknown number is `Unsupported`. An unknown flag bit or a number that is too \
         large for its type is `Invalid` before anything changes. A call by a capability for one use is `Busy` while \
         another call uses it, and `NoMemory` where that can't be noted. Deadlines are absolute \
         nanoseconds of the monotonic clock, 0 = do not wait, 2^64 − 1 = for ever. A call that \
         fails has changed nothing, unless its sentence says so.\n\n\
         ## Calls\n\n| number | call | result | rights needed | errors |\n|---:|---|---|---|---|\n"
    );
    for call in SYSCALLS {
        let _ = writeln!(
            out,
            "| {} | [`{}`](#{}) | {} | {} | {} |",
            call.number,
            call.name,
            call.name,
            call.result,
            or_dash(&rights(call)),
            or_dash(&errors(call)),
        );
    }
    for call in SYSCALLS {
        let _ = write!(out, "\n### {}\n\n`{}(", call.name, call.name);
        for (i, argument) in call.arguments.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            let _ = write!(out, "{comma}{}: {}", argument.name, argument.ty);
        }
        let _ = writeln!(out, ") → {}`\n\n{}", call.result, call.doc.trim());
    }
    out.push_str("\n## Errors\n\n| number | name | whose fault | meaning |\n|---:|---|---|---|\n");
    for &error in Error::ALL {
        let _ = writeln!(
            out,
            "| {} | {} | {:?} | {} |",
            error as u16,
            error.name(),
            error.blame(),
            error.description().trim(),
        );
    }
    out.push_str("\n## Rights\n\n| bit | name |\n|---:|---|\n");
    for (name, right) in Rights::all().iter_names() {
        let _ = writeln!(out, "| {} | {name} |", right.bits().trailing_zeros());
    }
    out
}

/// The contract as a C header: numbers, errors and rights.
pub fn c_header() -> String {
    let mut out = String::from(
        "/* The system calls of Handover. Rendered from abi/src/table.rs; do not edit. */\n\
         #ifndef HANDOVER_H\n#define HANDOVER_H\n\n#include <stdint.h>\n\n\
         typedef uint64_t handover_handle;\ntypedef uint64_t handover_token;\n\n",
    );
    let _ = writeln!(out, "#define HANDOVER_VERSION {VERSION}\n");
    for call in SYSCALLS {
        let _ = write!(out, "/* {}(", call.name);
        for (i, argument) in call.arguments.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            let space = if argument.c_type.ends_with('*') {
                ""
            } else {
                " "
            };
            let _ = write!(out, "{comma}{}{space}{}", argument.c_type, argument.name);
        }
        let _ = writeln!(
            out,
            ") */\n#define HANDOVER_{} {}",
            upper(call.name),
            call.number
        );
    }
    out.push('\n');
    for &error in Error::ALL {
        let _ = writeln!(
            out,
            "#define HANDOVER_E_{} {}",
            snake_upper(error.name()),
            error as u16
        );
    }
    out.push('\n');
    for (name, right) in Rights::all().iter_names() {
        let _ = writeln!(out, "#define HANDOVER_RIGHT_{name} 0x{:x}u", right.bits());
    }
    out.push_str("\n#endif\n");
    out
}

fn rights(call: &SyscallInfo) -> String {
    let mut out = String::new();
    for right in call.rights {
        for (name, _) in right.iter_names() {
            let _ = write!(out, "{}{name}", if out.is_empty() { "" } else { " " });
        }
    }
    out
}

fn errors(call: &SyscallInfo) -> String {
    let mut out = String::new();
    for error in call.errors {
        let _ = write!(out, "{}{error}", if out.is_empty() { "" } else { ", " });
    }
    out
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "–" } else { text }
}

fn upper(name: &str) -> String {
    name.chars().map(|c| c.to_ascii_uppercase()).collect()
}

fn snake_upper(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if i > 0 && c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}
