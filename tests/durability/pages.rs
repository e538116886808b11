//! The pages of a store's file, which can be damaged and repaired.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const PAGE: usize = 4_096;
/// How a page of rows begins, and how pages of an index do.
const ROWS: [u8; 1] = [13];
const INDEX: [u8; 2] = [2, 10];

/// Some pages of a file as they were.
pub(super) struct Pages {
    file: PathBuf,
    whole: Vec<(u64, Vec<u8>)>,
}

impl Pages {
    /// The rows of the table of tasks among which this one is.
    pub(super) fn of_row(file: &Path, task: &str) -> Self {
        Self::with(file, &ROWS, &id_bytes(task))
    }

    /// What of the index of ids leads to this task.
    pub(super) fn of_id(file: &Path, task: &str) -> Self {
        Self::with(file, &INDEX, &id_bytes(task))
    }

    /// What of the index of keys leads to this key.
    pub(super) fn of_key(file: &Path, key: &str) -> Self {
        Self::with(file, &INDEX, key.as_bytes())
    }

    fn with(file: &Path, kinds: &[u8], bytes: &[u8]) -> Self {
        let whole = fs::read(file).expect("it can be read");
        let is_meant = |page: &[u8]| {
            kinds.contains(&page[0]) && page.windows(bytes.len()).any(|part| part == bytes)
        };
        let found = (0..).zip(whole.chunks(PAGE)).filter(|(_, page)| is_meant(page));
        let whole: Vec<_> = found.map(|(at, page)| (at * PAGE as u64, page.to_vec())).collect();
        assert!(!whole.is_empty(), "nothing of {} is what is looked for", file.display());
        Self { file: file.to_owned(), whole }
    }

    /// Overwrites them with what makes no sense.
    pub(super) fn damage(&self) {
        self.write(|_| vec![0x5a; PAGE]);
    }

    /// Makes them as they were.
    pub(super) fn repair(&self) {
        self.write(<[u8]>::to_vec);
    }

    fn write(&self, content: impl Fn(&[u8]) -> Vec<u8>) {
        let file = OpenOptions::new().write(true).open(&self.file).expect("it is there");
        for (at, page) in &self.whole {
            file.write_all_at(&content(page), *at).expect("it can be written");
        }
    }
}

/// An id as the store has it.
fn id_bytes(task: &str) -> [u8; 16] {
    uuid::Uuid::parse_str(task).expect("an id").into_bytes()
}
