//! Taking one mechanism away at a time, so that the test which holds it can be seen to fail.
//!
//! Nothing of this is in an ordinary build. One with `--cfg sabotage` has every sabotage, and does
//! without the mechanism that was chosen; one with `--cfg sabotage="name"` always does without that. What
//! loom explores looks into the environment itself, once.

/// Whether a mechanism is taken away: a constant `false` in an ordinary build.
#[macro_export]
macro_rules! sabotaged {
    ($name:literal) => {
        cfg!(sabotage = $name) || $crate::sabotage::is_chosen($name)
    };
}

#[cfg(sabotage)]
static CHOSEN: spin::Once<&'static str> = spin::Once::new();

/// Chooses the mechanism to do without; the first choice stays.
#[cfg(sabotage)]
pub fn choose(name: &'static str) {
    CHOSEN.call_once(|| name);
}

/// What was chosen, for programs that have mechanisms of their own; nothing stands for none.
#[cfg(all(sabotage, not(loom)))]
pub fn chosen() -> &'static str {
    CHOSEN.get().copied().unwrap_or_default()
}

/// Whether this is the mechanism that was chosen.
#[cfg(all(sabotage, not(loom)))]
pub fn is_chosen(name: &str) -> bool {
    CHOSEN.get() == Some(&name)
}

/// Whether this is the mechanism that was chosen.
#[cfg(all(sabotage, loom))]
pub fn is_chosen(name: &str) -> bool {
    let choice = || {
        let chosen = std::env::var("HANDOVER_SABOTAGE").unwrap_or_default();
        &*chosen.leak()
    };
    *CHOSEN.call_once(choice) == name
}

/// Whether this is the mechanism that was chosen: none is.
#[cfg(not(sabotage))]
#[inline(always)]
pub const fn is_chosen(_name: &str) -> bool {
    false
}
