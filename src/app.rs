//! Wiring: what starts and stops in which order.
