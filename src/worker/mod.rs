//! The `worker` room.
