//! The capabilities of a worker: none, also as root.

use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// Takes all capabilities away from the calling thread and what it starts, for ever; needs
/// `no_new_privs`. Root keeps one where it could not reach what is `needed` without: in folders of
/// other users, which are closed to it like to anybody.
pub(super) fn give_up<'a>(needed: impl IntoIterator<Item = &'a Path>) -> Result<(), String> {
    let failed = |cause: Errno| format!("capabilities stay: {}", io::Error::from(cause));
    let had = capabilities(None).map_err(failed)?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, ..had }).map_err(failed)?;
    let kept = if needed.into_iter().any(is_closed) {
        had.effective & CapabilitySet::DAC_OVERRIDE
    } else {
        none
    };
    // This is a right of its own, and it may be missing: then a program cannot get anything out of
    // that set all the same, because of `no_new_privs`.
    let may_bound = had.permitted & CapabilitySet::SETPCAP;
    let bounding = CapabilitySets { effective: may_bound, ..had };
    set_capabilities(None, bounding).map_err(failed)?;
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if !kept.contains(capability) {
            let _unknown = remove_capability_from_bounding_set(capability);
        }
    }
    clear_ambient_capability_set().map_err(failed)?;
    let left = CapabilitySets { effective: kept, permitted: kept, inheritable: none };
    set_capabilities(None, left).map_err(failed)
}

fn is_closed(path: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    matches!(open(path, flags, Mode::empty()), Err(Errno::ACCESS))
}
