//! Where a test keeps its files.

use std::path::PathBuf;

use uuid::Uuid;

/// Makes a directory that nobody else has, had or will have: a failed test leaves its own, and the
/// ids of processes come again.
pub(crate) fn fresh_directory(sort: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("daedalus-{sort}-{}", Uuid::new_v4()));
    std::fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}
