"""The faults of a plan. Each happens at an instant, or at a code point: right before or after an operation.

Instants alone miss defects between two operations that are a few milliseconds apart. A code point hits them exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from task_manager_core.testing.cluster.link import Side


class InjectionKind(Enum):
    """Everything that can happen. The last group is requests of people."""

    SLOW = "slow"
    ERROR = "error"
    LOSE = "lose"
    CUT = "cut"
    MUTE = "mute"
    DEAF = "deaf"
    QUIET = "quiet"
    KILL = "kill"
    PAUSE = "pause"
    BLOCK = "block"
    JUMP = "jump"
    DRIFT = "drift"
    STOP = "stop"
    DOWN = "down"
    WIPE = "wipe"
    REWIND = "rewind"
    SET_BACK = "set back"

    DISABLE = "disable"
    ENABLE = "enable"
    TRIGGER = "trigger"
    CANCEL = "cancel"
    RESET = "reset"
    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"
    LATER = "later"


PEOPLE = frozenset(
    {
        InjectionKind.DISABLE,
        InjectionKind.ENABLE,
        InjectionKind.TRIGGER,
        InjectionKind.CANCEL,
        InjectionKind.RESET,
        InjectionKind.ADD,
        InjectionKind.CHANGE,
        InjectionKind.REMOVE,
        InjectionKind.LATER,
    }
)

HARMLESS = PEOPLE | {InjectionKind.QUIET}
"""Only promptness depends on a notification. While nothing else happens, every due slot is decided in time."""

MEANING: dict[InjectionKind, str] = {
    InjectionKind.SLOW: "messages take `amount` seconds longer for `length` seconds",
    InjectionKind.ERROR: "one operation fails before any effect",
    InjectionKind.LOSE: "one operation takes effect and its reply is lost",
    InjectionKind.CUT: "partition: no message passes for `length` seconds",
    InjectionKind.MUTE: "one-way partition: requests are lost for `length` seconds",
    InjectionKind.DEAF: "one-way partition: replies are lost for `length` seconds",
    InjectionKind.QUIET: "the notifications of the store are lost for `length` seconds",
    InjectionKind.KILL: "kill -9, and a new process after `length` seconds (0: none)",
    InjectionKind.PAUSE: "the process stands still for `length` seconds",
    InjectionKind.BLOCK: "the next function that the machine calls blocks its event loop for `length` seconds",
    InjectionKind.JUMP: "the wall clock jumps by `amount` seconds",
    InjectionKind.DRIFT: "both clocks run at 1 + `amount` from now on",
    InjectionKind.STOP: "graceful stop, and a new process after `length` seconds (0: none)",
    InjectionKind.DOWN: "the store refuses requests for `length` seconds",
    InjectionKind.WIPE: "the store loses everything",
    InjectionKind.REWIND: "the store falls back to what it held `length` seconds before, or before this operation",
    InjectionKind.SET_BACK: "the store's clock is set back by `amount` seconds (forward, if negative)",
    InjectionKind.DISABLE: "a person disables a task, and enables it after `length` seconds (0: never)",
    InjectionKind.ENABLE: "a person enables a task",
    InjectionKind.TRIGGER: "a person triggers a task",
    InjectionKind.CANCEL: "a person cancels a live run of a task",
    InjectionKind.RESET: "a person ends the backoff of a task",
    InjectionKind.ADD: "a person adds a dynamic task",
    InjectionKind.CHANGE: "a person gives a dynamic task another schedule",
    InjectionKind.REMOVE: "a person removes a dynamic task",
    InjectionKind.LATER: "a person asks for a run after `length` seconds; it expires `amount` seconds later (0: never)",
}


@dataclass(frozen=True, slots=True)
class Point:
    """The `nth` call of `operation` by the machine of the fault, counted over all its processes."""

    operation: str
    nth: int
    side: Side = Side.BEFORE


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """One fault or request. `machine` and `task` are indices into the plan; `length` and `amount` as in MEANING."""

    kind: InjectionKind
    at: float | Point
    machine: int = 0
    task: int = 0
    length: float = 0.0
    amount: float = 0.0

    def __str__(self) -> str:
        if isinstance(self.at, Point):
            when = f"{self.at.side.value} {self.at.operation} #{self.at.nth} of w{self.machine}"
        else:
            when = f"at {self.at:g} s"
        about = f"task {self.task}" if self.kind in PEOPLE else f"w{self.machine}"
        numbers = f" length {self.length:g}" * bool(self.length) + f" amount {self.amount:g}" * bool(self.amount)
        return f"{when}: {self.kind.value} {about}{numbers}"

    def data(self) -> dict[str, object]:
        """As JSON, without default values."""
        point = self.at
        at: object = [point.operation, point.nth, point.side.value] if isinstance(point, Point) else point
        numbers = {
            name: value
            for name, value in (
                ("machine", self.machine),
                ("task", self.task),
                ("length", self.length),
                ("amount", self.amount),
            )
            if value
        }
        return {"kind": self.kind.value, "at": at, **numbers}

    @classmethod
    def of(cls, data: Mapping[str, object]) -> Injection:
        """The inverse of `data`."""
        match data["at"]:
            case [str(operation), int(nth), str(side)]:
                at: float | Point = Point(operation, nth, Side(side))
            case other:
                at = number(other)
        return cls(
            kind=InjectionKind(data["kind"]),
            at=at,
            machine=int(number(data.get("machine", 0))),
            task=int(number(data.get("task", 0))),
            length=number(data.get("length", 0.0)),
            amount=number(data.get("amount", 0.0)),
        )


def number(value: object) -> float:
    """A number of JSON, or ValueError."""
    if isinstance(value, (int, float)):
        return value
    raise ValueError(f"not a number: {value!r}")
