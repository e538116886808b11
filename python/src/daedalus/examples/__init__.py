"""Example texts and old-style modules, written for this project, that the main job works on."""

from __future__ import annotations

from pathlib import Path


def texts_folder() -> Path:
    """Where the texts are."""
    return Path(__file__).resolve().parent / "texts"


def legacy_folder() -> Path:
    """Where the old-style modules are. They are read, never imported or run."""
    return Path(__file__).resolve().parent / "legacy"
