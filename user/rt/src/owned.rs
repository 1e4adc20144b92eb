//! Handles that are given back when they are dropped.

use abi::{Handle, ObjectKind};

/// What owns a handle of one kind.
pub trait Owned: Sized + Into<Handle> {
    /// What its handle stands for.
    const KIND: ObjectKind;

    /// The owner of a handle. One of another kind only makes every call answer `WrongKind`.
    fn from_handle(handle: Handle) -> Self;
}

/// What every owner of a handle can do.
macro_rules! owned {
    ($name:ident, $kind:ident) => {
        impl $name {
            /// What a handle stands for, whose owner this becomes.
            pub fn from_handle(handle: abi::Handle) -> $name {
                $name { handle }
            }

            /// The handle.
            pub fn handle(&self) -> abi::Handle {
                self.handle
            }

            /// The handle, to be given back by the caller.
            pub fn into_handle(self) -> abi::Handle {
                let handle = self.handle;
                core::mem::forget(self);
                handle
            }
        }

        impl $crate::Owned for $name {
            const KIND: abi::ObjectKind = abi::ObjectKind::$kind;

            fn from_handle(handle: abi::Handle) -> $name {
                $name { handle }
            }
        }

        impl From<$name> for abi::Handle {
            fn from(owner: $name) -> abi::Handle {
                owner.into_handle()
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // One that was used up names nothing any more.
                if self.handle != abi::Handle::NONE {
                    let _ = $crate::drop_handle(self.handle);
                }
            }
        }
    };
}

pub(crate) use owned;
