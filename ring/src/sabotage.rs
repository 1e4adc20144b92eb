//! Which mechanism to do without, in a build for the sabotage matrix: of the rings, and of the programs that link them.
//!
//! A program on a system learns by its environment; one for Handover is told by its kernel when it starts.

/// Whether the named mechanism is taken away. Without `cfg(sabotage)` none is.
#[doc(hidden)]
#[macro_export]
macro_rules! sabotaged {
    ($name:literal) => {
        cfg!(sabotage = $name) || $crate::sabotage::is_chosen($name)
    };
}

/// Whether this is the mechanism that the environment names.
#[cfg(all(sabotage, not(target_os = "none")))]
pub fn is_chosen(name: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<std::string::String>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("HANDOVER_SABOTAGE").ok());
    chosen.as_deref() == Some(name)
}

#[cfg(all(sabotage, target_os = "none"))]
static CHOSEN: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);

/// Chooses the mechanism to do without, before there is a second thread.
#[cfg(all(sabotage, target_os = "none"))]
pub fn choose(name: &str) {
    CHOSEN.store(number(name), core::sync::atomic::Ordering::Relaxed);
}

/// Whether this is the mechanism that was chosen.
#[cfg(all(sabotage, target_os = "none"))]
pub fn is_chosen(name: &str) -> bool {
    CHOSEN.load(core::sync::atomic::Ordering::Relaxed) == number(name)
}

/// A number for a name, since an atomic holds no string (FNV-1a); it is not 0 for any that is given to a mechanism.
#[cfg(all(sabotage, target_os = "none"))]
fn number(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |number, byte| {
        (number ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Whether this is the mechanism that was chosen: none is.
#[cfg(not(sabotage))]
#[inline(always)]
pub const fn is_chosen(_name: &str) -> bool {
    false
}
