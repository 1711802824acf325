"""The options of a task besides its function and its cron expression: the form that users write, and the values that
the core reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, TypedDict

from fastapi_task_manager.option_readers import READERS, duration, plain
from fastapi_task_manager.schedule_aliases import without_aliases
from fastapi_task_manager.shared_policies import shared_retry_policy
from task_manager_core.domain.duties import DEFAULT_QUEUE
from task_manager_core.domain.errors import InvalidPolicy
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import (
    CatchUp,
    CatchUpMode,
    Overlap,
    RetryPolicy,
)
from task_manager_core.domain.recurrence import At, Cron, Every, Fold, Gap
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition as CoreTask


class TaskOptions(TypedDict, total=False):
    """Keyword arguments of `add_task` and `add_dynamic_task`. Lengths are seconds or timedeltas; None is the default.

    Attributes:
        timezone: IANA name of a cron expression's zone; else refused, like `gap`, `fold`. Default: the group's
        gap: What a fixed-time schedule does with a local time that does not exist: "shift" (default) or "skip".
        fold: What a fixed-time schedule does with a local time that happens twice: "first" (default) or "both".
        jitter: Each slot is dispatched up to this much later, at most a day; how much is a pure function of the slot.
        start_at: No slot before this instant (aware).
        end_at: No slot at or after this instant (aware).
        catch_up: What runs after an outage: "latest" (default), "none", "all", or a `CatchUp` with window and limit.
        overlap: What happens to a slot while an earlier run lives: "allow", "buffer_one" or "skip". Default: what
            `allow_parallel` says ("allow" or "buffer_one").
        max_instances: How many runs of the task may live at once, 1 to 10,000. One more slot is skipped; a
            requested run is held until another one ends. Only for runs that may overlap; without `overlap` and
            `allow_parallel` of the task they may. Default: any number.
        run_on_start: Run once when the task is first seen, instead of waiting for its first slot.
        max_retries: Retries of a failed run before it is given up. Default: that of Config (50).
        max_lost_attempts: Attempts that may lose their worker before the run is given up. Default: that of Config (5).
        retry_on: Exception classes (or their qualified names) that deserve a retry. Default: all.
        no_retry_on: Exception classes that do not. Wins over `retry_on`.
        timeout: Longest time of one attempt.
        start_deadline: Slots that could not be dispatched within this time are skipped, and their runs that no worker
            could start within it expire.
        expires: Runs that have waited for longer, from the instant at which they fell due or were requested, expire:
            they are not executed.
        interval: Instead of a cron expression: a constant distance in real time, one second to 366 days.
        phase: Shifts the interval.
        queue: The queue of its runs. Only processes that serve it execute them. Default: "default".
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
    max_instances: int | None
    run_on_start: bool | None
    max_retries: int | None
    max_lost_attempts: int | None
    retry_on: type[BaseException] | Iterable[type[BaseException] | str] | None
    no_retry_on: type[BaseException] | Iterable[type[BaseException] | str] | None
    timeout: float | timedelta | None
    start_deadline: float | timedelta | None
    expires: float | timedelta | None
    queue: str | None
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
    max_instances: int | None = None
    run_on_start: bool = False
    max_retries: int | None = None
    max_lost_attempts: int | None = None
    retry_on: tuple[str, ...] = ()
    no_retry_on: tuple[str, ...] = ()
    timeout: timedelta | None = None
    start_deadline: timedelta | None = None
    expires: timedelta | None = None
    queue: str = DEFAULT_QUEUE

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
            max_instances=task.max_instances,
            run_on_start=task.run_on_start,
            max_retries=task.retry.max_retries,
            max_lost_attempts=task.retry.max_lost_attempts,
            retry_on=task.retry.retry_on,
            no_retry_on=task.retry.no_retry_on,
            timeout=task.timeout,
            start_deadline=task.start_deadline,
            expires=task.expires,
            queue=task.queue,
        )

    def changed(self, given: Mapping[str, object]) -> Options:
        """These options with some of them replaced. None stands for the default. A schedule of another kind
        replaces the whole previous schedule.

        Errors: TypeError for an unknown option; DefinitionError for a value.
        """
        given = without_aliases(given)
        unknown = [name for name in given if name not in READERS]
        if unknown:
            raise TypeError(f"unexpected keyword argument {unknown[0]!r}")
        changes = {
            name: _DEFAULTS[name] if value is None else READERS[name](name, value) for name, value in given.items()
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
        return {name: plain(value) for name, value in values.items() if value != _DEFAULTS[name]}

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


_SCHEDULE_KINDS = ("cron_expression", "interval", "run_at")
ONE_KIND = "give exactly one of cron_expression, interval and run_at"

_CRON_ONLY = ("timezone", "gap", "fold")
"""Options that have an effect on cron expressions only."""

_INSTANTS = ("run_at", "start_at", "end_at")
"""Equal instants may have different texts, and the names of dynamic tasks are made of these."""

_NO_OPTIONS = Options()

_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Options)}
