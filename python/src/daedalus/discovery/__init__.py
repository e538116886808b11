"""Finds what is worth migrating in a directory of Python files, by reading them: nothing is imported or run."""
