"""Which directory a payload means, and whether it may be read."""

from __future__ import annotations

import os
from pathlib import Path

from daedalus.discovery.settings import Settings
from daedalus.errors import TaskError


def directory(path: str, settings: Settings) -> Path:
    """The real directory; symbolic links are resolved before it is compared with the roots."""
    if "\0" in path:
        raise TaskError("payload.path has a NUL character", code="bad_payload")
    roots = [_real(root) for root in settings.roots]
    given = Path(path)
    if given.is_absolute():
        candidates = [_real(given)]
    elif roots:
        candidates = [_real(root / given) for root in roots]
    else:
        raise TaskError(
            f"payload.path must be absolute, found {path!r}: no worker.agent.discovery.roots are configured",
            code="bad_payload",
        )
    allowed = [real for real in candidates if not roots or any(real.is_relative_to(root) for root in roots)]
    for real in allowed:
        if _is_folder(real):
            return real
    if len(allowed) < len(candidates):
        raise TaskError(f"{path!r} is outside of worker.agent.discovery.roots", code="path_outside_roots")
    raise TaskError(
        f"{path!r} is no directory that can be read; in the sandbox, worker.sandbox.read must name it",
        code="path_not_found",
    )


def file_below(top: Path, relative: str) -> str:
    """The path of a file below `top`, relative to it, with no way out of it."""
    if "\0" in relative:
        raise TaskError("file_path has a NUL character", code="bad_payload")
    real = _real(top / relative)
    if not real.is_relative_to(top):
        raise TaskError(f"{relative!r} is outside of the directory of its discovery", code="path_outside_roots")
    return real.relative_to(top).as_posix()


def _is_folder(path: Path) -> bool:
    # Opened, not asked: what the sandbox hides is seen all the same.
    try:
        os.scandir(path).close()
    except OSError:
        return False
    return True


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        # A loop of symbolic links, a name that no file system takes.
        raise TaskError(f"{str(path)!r} cannot be followed: {error}", code="path_not_found") from error
