"""Install each archive of `make build` in a clean environment, and use it there like a user.

python -m tests.smoke dist/*
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs/examples/minimal_memory.py"
SUITE = "task_manager_core.testing.conformance"
STORE = "task_manager_memory:open_backend"


def main() -> None:
    """Test one wheel and one sdist. If a step fails, exit with a message."""
    archives = [Path(argument).resolve() for argument in sys.argv[1:]]
    if sorted(_kind(archive) for archive in archives) != ["sdist", "wheel"]:
        sys.exit(f"one wheel and one sdist are needed: {[archive.name for archive in archives]}")
    with ThreadPoolExecutor() as both:
        for line in both.map(_tried, archives):
            print(line, flush=True)


def _tried(archive: Path) -> str:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="task-manager-smoke-") as folder:
        _use(archive, Path(folder))
    return f"{archive.name}: installed and used in {time.monotonic() - began:.0f} s"


def _kind(archive: Path) -> str:
    return {".whl": "wheel", ".gz": "sdist"}.get(archive.suffix, archive.name)


def _use(archive: Path, folder: Path) -> None:
    venv.create(folder / "environment", symlinks=True)
    python = folder / "environment/bin/python"
    # The pip of this environment installs into the new one: another pip would cost more time than all the tests.
    pip = (Path(sys.executable), "-m", "pip", "--python", str(python))
    _run(folder, *pip, "install", "--quiet", "--no-compile", f"{archive}[all]", "uvicorn>=0.30")
    _run(folder, *pip, "check")
    # -I: no module may come from the current folder or from PYTHONPATH.
    _run(folder, python, "-I", str(ROOT / "tests/smoke/imports.py"), _version(archive))
    _serve_the_example(folder, python)
    _run(folder, python, "-m", "pytest", "--pyargs", SUITE, f"--backend={STORE}", "--quiet")


def _version(archive: Path) -> str:
    return archive.name.removesuffix(".tar.gz").split("-")[1]


def _run(folder: Path, python: Path, *arguments: str) -> None:
    done = subprocess.run([str(python), *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(arguments)}\n{done.stdout}{done.stderr}")


def _serve_the_example(folder: Path, python: Path) -> None:
    """The smallest application is healthy, and a run that is triggered over HTTP succeeds."""
    shutil.copy(EXAMPLE, folder)
    with _served(folder, python, f"{EXAMPLE.stem}:app") as base:
        wait_until(lambda: _asked(f"{base}/health"), "healthy", 30, ignore=(OSError, HTTPException))
        _asked(f"{base}/tasks/trigger?task_name=cleanup", "POST")
        statistics = f"{base}/tasks/Reports/cleanup/statistics"
        wait_until(lambda: b'"succeeded"' in _asked(statistics), "the triggered run succeeded")


@contextmanager
def _served(folder: Path, python: Path, application: str) -> Iterator[str]:
    # The server inherits a listening socket, so that no other program can take its port.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = str(listening.fileno())
        command = [str(python), "-m", "uvicorn", "--fd", number, "--log-level", "warning", application]
        server = subprocess.Popen(command, cwd=folder, pass_fds=[listening.fileno()], stdout=subprocess.DEVNULL)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/task-manager"
        finally:
            server.terminate()
            server.wait(30)


def _asked(url: str, method: str = "GET") -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5) as answer:
        content: bytes = answer.read()
    return content


if __name__ == "__main__":
    main()
