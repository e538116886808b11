//! Sizes as people read them.

use std::fmt;

/// So many bytes, shown in a unit that suits them.
pub(super) struct Bytes(pub(super) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        let (unit, name) = match bytes {
            0..0x400 => return write!(f, "{bytes} bytes"),
            0x400..0x10_0000 => (1_u64 << 10, "KiB"),
            0x10_0000..0x4000_0000 => (1 << 20, "MiB"),
            _ => (1 << 30, "GiB"),
        };
        write!(f, "{:.1} {name}", bytes as f64 / unit as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::Bytes;

    #[test]
    fn each_size_has_a_unit_that_suits_it() {
        let shown = [0, 1_023, 1_024, 61_440, 1 << 20, 5 << 29, 3 << 30]
            .map(|bytes| Bytes(bytes).to_string());
        let expected =
            ["0 bytes", "1023 bytes", "1.0 KiB", "60.0 KiB", "1.0 MiB", "2.5 GiB", "3.0 GiB"];
        assert_eq!(shown, expected);
    }
}
