//! Scenarios and storms for the scheduler.
