//! Which mechanism of the programs to do without, in a build for the sabotage matrix.

/// Whether the named mechanism is taken away. Without `cfg(sabotage)` none is.
#[macro_export]
macro_rules! sabotaged {
    ($name:literal) => {
        cfg!(sabotage = $name) || $crate::sabotage::is_chosen($name)
    };
}

/// Whether this is the mechanism that the environment names.
#[cfg(all(sabotage, not(target_os = "none")))]
pub fn is_chosen(name: &str) -> bool {
    extern crate std;
    static CHOSEN: std::sync::OnceLock<Option<std::string::String>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("HANDOVER_SABOTAGE").ok());
    chosen.as_deref() == Some(name)
}

/// Whether this is the mechanism that the environment names: none is.
#[cfg(not(all(sabotage, not(target_os = "none"))))]
#[inline(always)]
pub const fn is_chosen(_name: &str) -> bool {
    false
}
