"""The command line of `task-manager`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, get_args

from fastapi_task_manager.cli.options import WorkerOptions
from fastapi_task_manager.cli.probes import ask_file, ask_port
from fastapi_task_manager.cli.supervisor import run_supervisor
from fastapi_task_manager.cli.target import BadTarget, check_target
from fastapi_task_manager.cli.worker import configure_logging, run_worker
from fastapi_task_manager.duty_fields import RoleName
from task_manager_core import __version__
from task_manager_core.domain.duties import MOST_QUEUES, check_queue
from task_manager_core.domain.errors import DefinitionError

USAGE_ERROR = 2
"""The exit code for a command line or a target that cannot work. A supervisor does not start such a worker again."""

MOST_PROCESSES = 256

T = TypeVar("T")

WORKER = """Run the tasks of a manager in processes without a web server.

TARGET is module:manager. It may also be a FastAPI application with a manager (its lifespan runs, too), or a function
without parameters that returns one of them. The first SIGTERM or SIGINT drains: the worker claims no more, and running
tasks get shutdown_timeout to end. A second one releases them at once."""

HEALTH = """Exit with 0 if the worker is ready (or live), else with 1: the command of a probe."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns its exit code."""
    parsed = command_line().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = parsed.run
    return run(parsed)


def command_line() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = argparse.ArgumentParser(prog="task-manager", description="Workers without a web server, and their probes.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    worker = commands.add_parser(
        "worker",
        help="run tasks without a web server",
        description=WORKER,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    worker.set_defaults(run=_run_worker)
    worker.add_argument(
        "target", metavar="TARGET", type=_checked(_target), help="module:manager, module:app or module:factory"
    )
    worker.add_argument(
        "--app-dir", default="", metavar="DIR", help="look for the module here; default: this directory"
    )
    worker.add_argument(
        "--processes", type=_number(1, MOST_PROCESSES), default=1, metavar="N", help="worker processes; default: 1"
    )
    worker.add_argument(
        "--queues", type=_checked(_queues), metavar="A,B", help="the queues to serve; default: as the manager says"
    )
    worker.add_argument("--roles", type=_checked(_roles), metavar="R", help="schedule,execute or execute")
    worker.add_argument(
        "--concurrency", type=_number(1, 100_000), metavar="N", help="most runs that each process executes at a time"
    )
    worker.add_argument(
        "--health-file", type=Path, metavar="PATH", help="write the state of the worker here each second"
    )
    worker.add_argument(
        "--health-port", type=_number(0, 65_535), metavar="N", help="answer GET /ready and GET /live on this port"
    )
    worker.add_argument(
        "--health-host", default="127.0.0.1", metavar="HOST", help="the address of that port; for Kubernetes 0.0.0.0"
    )
    worker.add_argument(
        "--reload", action="store_true", help="restart when a .py file below --app-dir changes: for development"
    )
    worker.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="default: info"
    )
    worker.add_argument("--report-to", type=int, help=argparse.SUPPRESS)

    health = commands.add_parser("health", help="ask a worker how it is", description=HEALTH)
    health.set_defaults(run=_run_health)
    where = health.add_mutually_exclusive_group(required=True)
    where.add_argument("--file", type=Path, metavar="PATH", help="the --health-file of the worker")
    where.add_argument("--port", type=_number(1, 65_535), metavar="N", help="the --health-port of the worker")
    health.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    health.add_argument("--probe", choices=("ready", "live"), default="ready", help="default: ready")
    health.add_argument(
        "--max-age", type=_seconds, default=15.0, metavar="S", help="an older file is a hanging worker; default: 15"
    )
    health.add_argument(
        "--timeout", type=_seconds, default=3.0, metavar="S", help="the longest wait for the port; default: 3"
    )
    return parser


def _run_worker(parsed: argparse.Namespace) -> int:
    values = vars(parsed).copy()
    del values["run"]
    options = WorkerOptions(**values)
    configure_logging(options.log_level)
    try:
        return run_supervisor(options) if options.is_supervised else run_worker(options)
    except (BadTarget, DefinitionError, ValueError) as error:
        return _refuse(error)
    except OSError as error:
        return _refuse(f"--health-port={options.health_port} --health-file={options.health_file}: {error}")


def _refuse(error: object) -> int:
    print(f"task-manager worker: {error}", file=sys.stderr)  # noqa: T201 - a command speaks to its terminal
    return USAGE_ERROR


def _run_health(parsed: argparse.Namespace) -> int:
    if parsed.file is not None:
        wrong = ask_file(parsed.file, parsed.probe, parsed.max_age)
    else:
        wrong = ask_port(parsed.host, parsed.port, parsed.probe, parsed.timeout)
    print(wrong or parsed.probe)  # noqa: T201 - as above
    return 0 if wrong is None else 1


# -- values ------------------------------------------------------------------------------------------------------------


def _checked(read: Callable[[str], T]) -> Callable[[str], T]:
    """An argparse type: an error of the domain becomes one of the command line, which names the option."""

    def checked(text: str) -> T:
        try:
            return read(text)
        except (BadTarget, DefinitionError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def _target(text: str) -> str:
    check_target(text)
    return text


def _queues(text: str) -> tuple[str, ...]:
    queues = tuple(dict.fromkeys(check_queue("--queues", name.strip()) for name in text.split(",")))
    if len(queues) > MOST_QUEUES:
        raise argparse.ArgumentTypeError(f"must be at most {MOST_QUEUES} queues")
    return queues


def _roles(text: str) -> tuple[RoleName, ...]:
    known = {str(role): role for role in get_args(RoleName)}
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"there is no role {unknown[0]!r}: the roles are {' and '.join(known)}")
    if "execute" not in names:
        raise argparse.ArgumentTypeError(f"{text!r} has no 'execute': a worker executes runs")
    return tuple(known[name] for name in dict.fromkeys(names))


def _number(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, not {text!r}")
        return int(text)

    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"must be more than 0 and at most 3600 seconds, not {text!r}")
    return seconds
