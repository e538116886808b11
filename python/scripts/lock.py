"""Write the lock files: every package pinned, with the hash of each wheel that a supported platform takes.

    python3 scripts/lock.py            # in python/, with pip 23 or newer

Only pip is asked. Its report of a dry run names one wheel per package, so it runs once per platform and
Python, and the hashes are joined.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
ARCHITECTURES = ("x86_64", "aarch64")
# Oldest first: a wheel may carry any of these tags.
MANYLINUX = ("manylinux2014", "manylinux_2_17", "manylinux_2_24", "manylinux_2_27", "manylinux_2_28")

Pins = dict[str, tuple[str, set[str]]]


def resolve(requirements: list[Path], python: str, architecture: str) -> Pins:
    """Ask pip which wheels it would install, with their versions and hashes."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--only-binary=:all:", "--target", folder, "--python-version", python]
        command += [f"--platform={tag}_{architecture}" for tag in MANYLINUX]
        command += ["--report", str(report)]
        command += [f"--requirement={path}" for path in requirements]
        subprocess.run(command, check=True)
        pins: Pins = {}
        for item in json.loads(report.read_text())["install"]:
            digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
            name = item["metadata"]["name"].lower().replace("_", "-")
            # pip takes `mcp[ws]` and `mcp` for two requirements, and both must be pinned.
            extras = ",".join(item.get("requested_extras", []))
            pins[f"{name}[{extras}]" if extras else name] = (item["metadata"]["version"], {digest})
        return pins


def joined(requirements: list[Path]) -> Pins:
    """Join the wheels of all platforms; a version that differs between them stops the run."""
    pins: Pins = {}
    for python in PYTHONS:
        for architecture in ARCHITECTURES:
            for name, (version, digests) in resolve(requirements, python, architecture).items():
                known_version, known = pins.setdefault(name, (version, set()))
                if known_version != version:
                    raise SystemExit(f"{name}: {known_version} and {version}; pin one in {requirements[-1].name}")
                known |= digests
            print(f"{requirements[-1].name}: {python} {architecture}: {len(pins)} packages", file=sys.stderr)
    return pins


def write(path: Path, pins: Pins) -> None:
    """Write one lock in the form that `pip install --require-hashes` reads."""
    lines = [
        f"# Written by scripts/lock.py for Python {PYTHONS[0]} to {PYTHONS[-1]} on Linux; edit the .in file instead."
    ]
    for name, (version, digests) in sorted(pins.items()):
        lines.append(
            " \\\n    ".join([f"{name}=={version}", *(f"--hash=sha256:{digest}" for digest in sorted(digests))])
        )
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    base, test = HERE / "requirements.in", HERE / "requirements-test.in"
    base_pins = joined([base])
    write(HERE / "requirements.lock", base_pins)
    # One resolution for both, so that a shared package cannot be asked for in two versions.
    both = joined([base, test])
    write(HERE / "requirements-test.lock", {name: pin for name, pin in both.items() if name not in base_pins})
    bench = HERE.parent / "benches" / "python" / "requirements.in"
    write(bench.with_suffix(".lock"), joined([bench]))


if __name__ == "__main__":
    main()
