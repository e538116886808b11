"""Runs the real worker with this folder on its path, so that a factory can be a module of the tests."""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
runpy.run_module("daedalus.worker", run_name="__main__", alter_sys=True)
