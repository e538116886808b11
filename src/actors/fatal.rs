//! Crash only: a panic where nothing may panic ends the daemon.

use std::sync::Arc;

use tokio::sync::watch;

/// What is lost, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// This part panicked.
    Panicked(&'static str),
    /// The store failed, for this reason: nothing can be acknowledged any more.
    Store(String),
}

/// Where a part of the daemon says that it is lost, and with it the daemon.
#[derive(Clone, Debug)]
pub struct Fatal {
    lost: Arc<watch::Sender<Option<Loss>>>,
}

impl Fatal {
    /// Nothing is lost yet.
    #[must_use]
    pub fn new() -> Self {
        Self { lost: Arc::new(watch::Sender::new(None)) }
    }

    /// Says what is lost. The first loss counts.
    pub fn raise(&self, loss: Loss) {
        self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            lost.get_or_insert(loss);
            first
        });
    }

    /// What is lost, if something is.
    #[must_use]
    pub fn known(&self) -> Option<Loss> {
        self.lost.borrow().clone()
    }

    /// Waits until something is lost, and says what.
    pub async fn lost(&self) -> Loss {
        let mut lost = self.lost.subscribe();
        let found = lost.wait_for(Option::is_some).await.map(|loss| loss.clone());
        match found {
            Ok(Some(loss)) => loss,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Something that raises the alarm when it is dropped by a panic.
    #[must_use]
    pub fn guard(&self, part: &'static str) -> PanicGuard {
        PanicGuard { fatal: self.clone(), part }
    }
}

impl Default for Fatal {
    fn default() -> Self {
        Self::new()
    }
}

/// Belongs into everything that must not panic: dropped while unwinding, it ends the daemon.
#[derive(Debug)]
pub struct PanicGuard {
    fatal: Fatal,
    part: &'static str,
}

impl PanicGuard {
    /// Whether anything is lost: the daemon is ending, and ends what it started.
    pub(super) fn is_daemon_lost(&self) -> bool {
        self.fatal.lost.borrow().is_some()
    }
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fatal.raise(Loss::Panicked(self.part));
        }
    }
}
