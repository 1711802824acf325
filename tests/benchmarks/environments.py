"""One environment for each system, below a cache folder. A file for each system lists the versions."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.process import ROOT
from tests.benchmarks.systems import System

CACHE = Path(os.environ.get("BENCH_CACHE", ROOT / ".cache" / "bench"))
PEERS = ROOT / "tests" / "benchmarks" / "peers"
PYTHON = (3, 11)
"""The version of Python, the same in all environments."""


class CannotMake(Exception):
    """An environment cannot be made; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The command that starts the driver of one system."""

    command: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict[str, str])


def made(system: System) -> Environment:
    """Make the environment, unless it exists with the present versions. Raises: CannotMake."""
    return _of_node(system) if system.node else _of_python(system)


def _of_python(system: System) -> Environment:
    folder = CACHE / system.name
    pinned = PEERS / "requirements" / f"{system.name}.txt"
    sources = [pinned, ROOT / "pyproject.toml"] if system.ours else [pinned]
    python = folder / "bin" / "python"
    if _outdated(folder, sources):
        print(f"making the environment of {system.title} in {folder}", file=sys.stderr)
        _run([_interpreter(), "-m", "venv", str(folder)])
        more = ["--editable", f"{ROOT}[redis,fastapi]"] if system.ours else []
        _run([str(python), "-m", "pip", "install", "--quiet", "--requirement", str(pinned), *more])
        _remember(folder, sources)
    return Environment(command=(str(python), "-m", system.module))


def _of_node(system: System) -> Environment:
    folder = CACHE / system.name
    pinned = PEERS / "package.json"
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise CannotMake("no Node on this machine")
    if _outdated(folder, [pinned]):
        print(f"making the environment of {system.title} in {folder}", file=sys.stderr)
        folder.mkdir(parents=True)
        shutil.copy(pinned, folder)
        _run(
            [
                npm,
                "install",
                "--no-audit",
                "--no-fund",
                "--no-package-lock",
                "--ignore-scripts",
                "--prefix",
                str(folder),
            ]
        )
        _remember(folder, [pinned])
    command = (node, "--expose-gc", str(PEERS / f"{system.name}.mjs"))
    return Environment(command=command, variables={"BENCH_MODULES": str(folder), "NODE_ENV": "production"})


def _interpreter() -> str:
    if sys.version_info[:2] == PYTHON:
        return sys.executable
    found = shutil.which(f"python{PYTHON[0]}.{PYTHON[1]}")
    if found is None:
        raise CannotMake(f"all systems are measured on Python {PYTHON[0]}.{PYTHON[1]}, which is not on PATH")
    return found


def _stamp(sources: Sequence[Path]) -> str:
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()


def _outdated(folder: Path, sources: Sequence[Path]) -> bool:
    """Whether the environment is missing or has other versions. In that case this deletes its folder."""
    stamp = folder / ".stamp"
    if stamp.exists() and stamp.read_text() == _stamp(sources):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return True


def _remember(folder: Path, sources: Sequence[Path]) -> None:
    (folder / ".stamp").write_text(_stamp(sources))


def _run(command: Sequence[str]) -> None:
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if ended.returncode:
        output = (ended.stderr or ended.stdout).strip().splitlines()
        raise CannotMake(f"{' '.join(command)}: {' | '.join(output[-5:])}")
