//! The canary, as a call.

use std::sync::Arc;

use super::{CallError, PoolHandle};
use crate::actors::canary::{self, CanaryReport};
use crate::actors::messages::ListWorkers;

impl PoolHandle {
    /// Whether a secret of one idle process agent reaches another one. Takes 45 s at most, and a
    /// second or two when every worker does what it is asked.
    ///
    /// # Errors
    /// See [`CallError`]; [`CallError::CanaryRunning`].
    pub async fn check_isolation(&self) -> Result<CanaryReport, CallError> {
        let turn = Arc::clone(&self.canary).try_lock_owned();
        let turn = turn.map_err(|_taken| CallError::CanaryRunning)?;
        let workers = self.ask(&self.router, ListWorkers).await?;
        let auditor = Arc::clone(&self.auditor);
        // A task of its own: when the caller goes away, what was planted must still be removed.
        let done = tokio::spawn(async move {
            let report = canary::run(workers, &auditor).await;
            drop(turn);
            report
        });
        done.await.map_err(|_panicked| CallError::Down)
    }
}
