"""The options of a task besides its function and its cron expression: the form that users write, and the values that
the core reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, TypedDict, TypeGuard, TypeVar

from fastapi_task_manager.exception_names import class_name
from fastapi_task_manager.schedule_aliases import without_aliases
from fastapi_task_manager.shared_policies import shared_retry_policy
from task_manager_core.domain.errors import InvalidCron, InvalidPolicy
from task_manager_core.domain.identity import TaskKey, check_name
from task_manager_core.domain.policy import LONGEST_TIME, CatchUp, CatchUpMode, Overlap, RetryPolicy
from task_manager_core.domain.recurrence import At, Cron, Every, Fold, Gap
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition as CoreTask

LONGEST_SECONDS = LONGEST_TIME // timedelta(seconds=1)
MOST_RETRIES = 1_000_000
MOST_CLASSES = 100

_MILLISECOND = timedelta(milliseconds=1)

E = TypeVar("E", bound=Enum)


class TaskOptions(TypedDict, total=False):
    """Keyword arguments of `add_task` and `add_dynamic_task`. Lengths are seconds or timedeltas; None is the default.

    Attributes:
        timezone: IANA name of the zone the cron expression is read in. Default: the group's, then that of Config. Like
            `gap` and `fold` refused for schedules without a cron expression.
        gap: What a fixed-time schedule does with a local time that does not exist: "shift" (default) or "skip".
        fold: What a fixed-time schedule does with a local time that happens twice: "first" (default) or "both".
        jitter: Each slot is dispatched up to this much later, at most a day; how much is a pure function of the slot.
        start_at: No slot before this instant (aware).
        end_at: No slot at or after this instant (aware).
        catch_up: What runs after an outage: "latest" (default), "none", "all", or a `CatchUp` with window and limit.
        overlap: What happens to a slot while an earlier run lives: "allow", "buffer_one" or "skip". Default: what
            `allow_parallel` says ("allow" or "buffer_one").
        run_on_start: Run once when the task is first seen, instead of waiting for its first slot.
        max_retries: Retries of a failed run before it is given up. Default: that of Config (None: until it succeeds).
        max_lost_attempts: Attempts that may lose their worker before the run is given up. Default: that of Config (5).
        retry_on: Exception classes (or their qualified names) that deserve a retry. Default: all.
        no_retry_on: Exception classes that do not. Wins over `retry_on`.
        timeout: Longest time of one attempt.
        start_deadline: Slots that could not be dispatched within this time are skipped, and runs that no worker could
            start within it expire.
        interval: Instead of a cron expression: a constant distance in real time, one second to 366 days.
        phase: Shifts the interval.
        run_at: Instead of a cron expression: one run at this instant, or at each of these, at most 1,000.
    """

    timezone: str | None
    gap: Gap | Literal["shift", "skip"] | None
    fold: Fold | Literal["first", "both"] | None
    jitter: float | timedelta | None
    start_at: datetime | None
    end_at: datetime | None
    catch_up: CatchUp | CatchUpMode | Literal["latest", "none", "all"] | None
    overlap: Overlap | Literal["allow", "buffer_one", "skip"] | None
    run_on_start: bool | None
    max_retries: int | None
    max_lost_attempts: int | None
    retry_on: type[BaseException] | Iterable[type[BaseException] | str] | None
    no_retry_on: type[BaseException] | Iterable[type[BaseException] | str] | None
    timeout: float | timedelta | None
    start_deadline: float | timedelta | None
    interval: float | timedelta | None
    phase: float | timedelta | None
    run_at: datetime | Iterable[datetime] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """The values for options that a task does not set: those of the group, else those of Config."""

    allow_parallel: bool = True
    timezone: str = "UTC"
    retry: RetryPolicy = RetryPolicy()

    def of_group(self, *, allow_parallel: bool | None, timezone: str | None) -> Defaults:
        if allow_parallel is None and timezone is None:
            return self
        return replace(
            self,
            allow_parallel=self.allow_parallel if allow_parallel is None else allow_parallel,
            timezone=self.timezone if timezone is None else timezone,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The same options as values of the core. None stands for the default."""

    cron_expression: tuple[str, ...] = ()
    interval: timedelta | None = None
    phase: timedelta | None = None
    run_at: tuple[datetime, ...] = ()
    timezone: str | None = None
    gap: Gap | None = None
    fold: Fold | None = None
    jitter: timedelta = timedelta(0)
    start_at: datetime | None = None
    end_at: datetime | None = None
    catch_up: CatchUp = CatchUp()
    overlap: Overlap | None = None
    run_on_start: bool = False
    max_retries: int | None = None
    max_lost_attempts: int | None = None
    retry_on: tuple[str, ...] = ()
    no_retry_on: tuple[str, ...] = ()
    timeout: timedelta | None = None
    start_deadline: timedelta | None = None

    @classmethod
    def of(cls, task: CoreTask) -> Options:
        """The options of a stored definition, with every default written out."""
        rules = task.schedule.rules
        first = rules[0] if rules else None
        zoned = first if isinstance(first, Cron) else None
        return cls(
            cron_expression=tuple(rule.text for rule in rules if isinstance(rule, Cron)),
            interval=first.interval if isinstance(first, Every) else None,
            phase=first.phase if isinstance(first, Every) else None,
            run_at=first.instants if isinstance(first, At) else (),
            timezone=zoned.timezone if zoned else None,
            gap=zoned.gap if zoned else None,
            fold=zoned.fold if zoned else None,
            jitter=task.schedule.jitter,
            start_at=task.schedule.start_at,
            end_at=task.schedule.end_at,
            catch_up=task.catch_up,
            overlap=task.overlap,
            run_on_start=task.run_on_start,
            max_retries=task.retry.max_retries,
            max_lost_attempts=task.retry.max_lost_attempts,
            retry_on=task.retry.retry_on,
            no_retry_on=task.retry.no_retry_on,
            timeout=task.timeout,
            start_deadline=task.start_deadline,
        )

    def changed(self, given: Mapping[str, object]) -> Options:
        """These options with some of them replaced. None stands for the default. A schedule of another kind
        replaces the whole previous schedule.

        Errors: TypeError for an unknown option; DefinitionError for a value.
        """
        given = without_aliases(given)
        unknown = [name for name in given if name not in _READERS]
        if unknown:
            raise TypeError(f"unexpected keyword argument {unknown[0]!r}")
        changes = {
            name: _DEFAULTS[name] if value is None else _READERS[name](name, value) for name, value in given.items()
        }
        kinds = [kind for kind in _SCHEDULE_KINDS if changes.get(kind, _DEFAULTS[kind]) != _DEFAULTS[kind]]
        if kinds:
            stale = (*_SCHEDULE_KINDS, "phase", *(() if "cron_expression" in kinds else _CRON_ONLY))
            changes = {**{name: _DEFAULTS[name] for name in stale}, **changes}
        if self != _NO_OPTIONS or any(changes.get(name) for name in _INSTANTS):
            return replace(self, **changes)
        return _options(frozenset(changes.items()))

    def schedule(self, key: TaskKey, timezone: str) -> Schedule:
        """The schedule of this task; `H` spreads by its key. Errors: DefinitionError."""
        may_spread = any("h" in text or "H" in text for text in self.cron_expression)
        return _schedule(self, timezone, str(key) if may_spread else None)

    @property
    def has_schedule(self) -> bool:
        """Is there one? Otherwise the task runs on request only."""
        return bool(self.cron_expression or self.interval is not None or self.run_at)

    def build_schedule(self, timezone: str, seed: str | None) -> Schedule:
        """The same, for this seed of `H`."""
        self._refuse_contradictions()
        if not self.has_schedule:
            return Schedule(rules=(), start_at=self.start_at, end_at=self.end_at, jitter=self.jitter)
        if self.interval is not None:
            return Schedule.every(
                self.interval,
                phase=self.phase or timedelta(0),
                start_at=self.start_at,
                end_at=self.end_at,
                jitter=self.jitter,
            )
        if self.run_at:
            instants = At(instants=self.run_at)
            return Schedule(rules=(instants,), start_at=self.start_at, end_at=self.end_at, jitter=self.jitter)
        return Schedule.cron(
            self.cron_expression,
            timezone=timezone if self.timezone is None else self.timezone,
            gap=self.gap or Gap.SHIFT,
            fold=self.fold or Fold.FIRST,
            hash_seed=seed,
            start_at=self.start_at,
            end_at=self.end_at,
            jitter=self.jitter,
        )

    def _refuse_contradictions(self) -> None:
        """Refuse more than one kind of schedule, and options that have no effect on this kind."""
        options = self.given()
        kinds = [kind for kind in _SCHEDULE_KINDS if kind in options]
        if len(kinds) > 1:
            raise InvalidPolicy(kinds[-1], options[kinds[-1]], f"{ONE_KIND}, not {' and '.join(kinds)}")
        kind = kinds[0] if kinds else "a task without a schedule"
        wrong = {"phase": "shifts an interval"} if self.interval is None else {}
        if not self.cron_expression:
            wrong |= dict.fromkeys(_CRON_ONLY, "is about the local times of a cron expression")
        if not kinds:
            wrong["run_on_start"] = "is about the first slot"
        for field in wrong.keys() & options.keys():
            raise InvalidPolicy(field, options[field], f"{wrong[field]}, and means nothing for {kind}")

    def given(self) -> dict[str, object]:
        """The options that differ from their defaults, in JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: _plain(value) for name, value in values.items() if value != _DEFAULTS[name]}

    def retry(self, inherited: RetryPolicy, backoff: float | None, backoff_max: float | None) -> RetryPolicy:
        """The retry policy. The task's own numbers win. An inherited number that contradicts them is adjusted."""
        initial = inherited.initial if backoff is None else duration("retry_backoff", backoff)
        maximum = inherited.maximum if backoff_max is None else duration("retry_backoff_max", backoff_max)
        if backoff is None:
            initial = min(initial, maximum) if maximum > timedelta(0) else initial
        if backoff_max is None:
            maximum = max(initial, maximum)
        return shared_retry_policy(
            inherited,
            initial,
            maximum,
            inherited.max_retries if self.max_retries is None else self.max_retries,
            inherited.max_lost_attempts if self.max_lost_attempts is None else self.max_lost_attempts,
            self.retry_on,
            self.no_retry_on,
        )


# An application declares many tasks with the same options. Each of these values is built and checked once, and shared.


@lru_cache(maxsize=1024)
def _options(given: frozenset[tuple[str, Any]]) -> Options:
    return Options(**dict(given))


@lru_cache(maxsize=1024)
def _schedule(options: Options, timezone: str, seed: str | None) -> Schedule:
    return options.build_schedule(timezone, seed)


def duration(field: str, value: object) -> timedelta:
    """Seconds or a timedelta, rounded to the milliseconds that stores keep."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise InvalidPolicy(field, value, "must be a number of seconds or a timedelta")
    if not abs(seconds) <= LONGEST_SECONDS:  # so that NaN is refused
        raise InvalidPolicy(field, seconds, f"must be at most {LONGEST_SECONDS} seconds")
    return round(seconds * 1000) * _MILLISECOND


def flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidPolicy(field, value, "must be true or false")
    return value


def text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidPolicy(field, value, "must be text")
    return value


def name_list(field: str, value: object) -> list[str]:
    """A list of names. A single text is refused: it would count as a list of its letters."""
    if not _is_list(value):
        raise InvalidPolicy(field, value, "must be a list of texts")
    return [check_name(field, text(field, item)) for item in value]


def _plain(value: object) -> object:
    """The value of an option in JSON."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, CatchUp):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return [_plain(item) for item in value] if _is_list(value) else value


def _cron_texts(field: str, value: object) -> tuple[str, ...]:
    """One expression, or the union of several."""
    found: list[str] = []
    for item in _elements(value):
        if not isinstance(item, str):
            raise InvalidCron(field, item, "must be text")
        found.append(item)
    if not found:
        raise InvalidCron(field, value, "must hold an expression")
    return tuple(found)


def _instant(field: str, value: object) -> datetime:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidPolicy(field, value, "must be a datetime with a time zone")
    return value


def _instants(field: str, value: object) -> tuple[datetime, ...]:
    given = [value] if isinstance(value, datetime) else _elements(value)
    if not given:
        raise InvalidPolicy(field, given, "must hold an instant")
    return tuple(_instant(field, item) for item in given)


def _retries(field: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_RETRIES:
        raise InvalidPolicy(field, value, f"must be a whole number from 0 to {MOST_RETRIES}")
    return value


def _member(kind: type[E]) -> Callable[[str, object], E]:
    def read(field: str, value: object) -> E:
        for member in kind:
            if value is member or value == member.value:
                return member
        raise InvalidPolicy(field, value, f"must be one of {', '.join(str(member.value) for member in kind)}")

    return read


def _catch_up(field: str, value: object) -> CatchUp:
    return value if isinstance(value, CatchUp) else CatchUp(mode=_member(CatchUpMode)(field, value))


def _classes(field: str, value: object) -> tuple[str, ...]:
    """Qualified names."""
    given: list[object] = [value] if _is_class_or_text(value) else _elements(value)
    if len(given) > MOST_CLASSES:
        raise InvalidPolicy(field, len(given), f"must name at most {MOST_CLASSES} classes")
    return tuple(dict.fromkeys(class_name(field, item) for item in given))


def _is_class_or_text(value: object) -> bool:
    return isinstance(value, (str, type))


def _elements(value: object) -> list[object]:
    """The elements of a list; any other value is the only element."""
    return list(value) if _is_list(value) else [value]


def _is_list(value: object) -> TypeGuard[Iterable[object]]:
    return isinstance(value, (list, tuple, set, frozenset))


_READERS: dict[str, Callable[[str, object], Any]] = {
    "cron_expression": _cron_texts,
    "interval": duration,
    "phase": duration,
    "run_at": _instants,
    "timezone": text,
    "gap": _member(Gap),
    "fold": _member(Fold),
    "jitter": duration,
    "start_at": _instant,
    "end_at": _instant,
    "catch_up": _catch_up,
    "overlap": _member(Overlap),
    "run_on_start": flag,
    "max_retries": _retries,
    "max_lost_attempts": _retries,
    "retry_on": _classes,
    "no_retry_on": _classes,
    "timeout": duration,
    "start_deadline": duration,
}

_SCHEDULE_KINDS = ("cron_expression", "interval", "run_at")
ONE_KIND = "give exactly one of cron_expression, interval and run_at"

_CRON_ONLY = ("timezone", "gap", "fold")
"""Options that have an effect on cron expressions only."""

_INSTANTS = ("run_at", "start_at", "end_at")
"""Equal instants may have different texts, and the names of dynamic tasks are made of these."""

_NO_OPTIONS = Options()

_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Options)}
