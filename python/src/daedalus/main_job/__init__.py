"""Starts a daemon, gives its agents a batch of real work, and shows what became of it."""
