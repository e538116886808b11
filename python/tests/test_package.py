"""The package as users get it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

import daedalus

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src" / "daedalus"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """The wheel, built from a copy: a build leaves files in its folder."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "python"
    copytree(ROOT, copy, ignore=ignore_patterns(".venv", "build", "*.egg-info", "__pycache__", ".*cache"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--no-build-isolation"]
    built = subprocess.run([*pip, "-w", folder, copy], capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("daedalus-*.whl")
    return zipfile.Path(path)


def test_the_wheel_has_every_module_and_says_that_it_is_typed(wheel):
    names = set(wheel.root.namelist())
    modules = {f"daedalus/{path.relative_to(SOURCES)}" for path in SOURCES.rglob("*.py")}
    assert len(modules) > 30
    assert modules <= names
    assert {"daedalus/py.typed", "daedalus/examples/texts/tram_report.txt"} <= names
    assert not [name for name in names if "test" in name.lower()]


def test_the_wheel_says_what_it_is(wheel):
    (metadata,) = (name for name in wheel.root.namelist() if name.endswith(".dist-info/METADATA"))
    text = wheel.root.read(metadata).decode()
    for line in ("Name: daedalus", f"Version: {daedalus.__version__}", "Requires-Python: >=3.11"):
        assert f"{line}\n" in text
    assert "Requires-Dist: smolagents" in text
    assert "License-Expression: MIT OR Apache-2.0" in text
    assert "Classifier: Typing :: Typed" in text


def test_importing_the_package_imports_nothing_heavy():
    program = """
import sys
import daedalus
assert not [name for name in sys.modules if name.startswith(("daedalus.", "asyncio", "http"))], sys.modules
daedalus.Client, daedalus.AsyncClient, daedalus.Worker, daedalus.TaskError, daedalus.QueueFull
from daedalus import *
assert not [name for name in sys.modules if name.partition(".")[0] in ("smolagents", "requests", "openai")]
"""
    ran = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr


def test_every_name_of_the_package_is_there():
    assert {name for name in daedalus.__all__ if not hasattr(daedalus, name)} == set()
    assert set(daedalus.__all__) <= set(dir(daedalus))
    with pytest.raises(AttributeError, match="Wrker"):
        _ = daedalus.Wrker  # type: ignore[attr-defined]
