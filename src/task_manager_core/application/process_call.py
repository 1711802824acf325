"""One call of a function in another process: what the parent sends, and what the child answers."""

from __future__ import annotations

import importlib
import inspect
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from types import FunctionType

from task_manager_core.application.failure import ChildTraceback, RaisedInProcess, class_names, failure_of
from task_manager_core.application.result import ToJson, result_of
from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.run import Failure, Result

FIELD = "executor"


@dataclass(frozen=True, slots=True)
class ProcessTarget:
    """A function that another process finds by the name of its module and its own name.

    `convert` makes the arguments of the function from those of the run, in this process.
    """

    module: str
    name: str
    convert: Callable[[dict[str, object]], dict[str, object]] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, call: Callable[..., object]) -> ProcessTarget:
        """Errors: DefinitionError for a function that another process cannot find, or cannot call."""
        if not isinstance(call, FunctionType):
            raise DefinitionError(FIELD, "process", f"needs a plain function of a module, not {call!r}")
        if call.__name__ == "<lambda>":
            raise DefinitionError(
                FIELD, "process", "needs a function with a name: another process cannot find a lambda"
            )
        if "<locals>" in call.__qualname__:
            shown = f"{call.__qualname__} is defined inside a function"
            raise DefinitionError(FIELD, "process", f"needs a function of a module: {shown}, where none can find it")
        if inspect.iscoroutinefunction(call):
            raise DefinitionError(
                FIELD, "process", f"is for synchronous functions, and {call.__qualname__} is a coroutine"
            )
        return cls(call.__module__, call.__qualname__)

    def request(self, arguments: dict[str, object]) -> bytes:
        """The request for one call. Errors: TypeError for arguments that cannot be pickled."""
        given = arguments if self.convert is None else self.convert(arguments)
        try:
            return pickle.dumps((self.module, self.name, given))
        except Exception as error:
            raise TypeError(f"the arguments of {self.name} cannot be sent to another process: {error}") from error


@dataclass(frozen=True, slots=True)
class Returned:
    """The function returned. The child has converted what it returned."""

    result: Result | None


@dataclass(frozen=True, slots=True)
class Raised:
    """The function raised an exception: its record, the names of its classes, and itself if it can be sent."""

    failure: Failure
    names: tuple[str, ...]
    pickled: bytes | None

    @classmethod
    def of(cls, error: BaseException) -> Raised:
        return cls(failure_of(error), class_names(error), _sendable(error))

    def error(self) -> BaseException:
        """The exception, with the traceback of the child."""
        error: BaseException | None = None
        if self.pickled is not None:
            try:
                found: object = pickle.loads(self.pickled)  # noqa: S301 - a child of this process has written it
            except Exception:  # noqa: BLE001 - the code of an exception of the application
                found = None
            error = found if isinstance(found, BaseException) else None
        if error is None:
            error = RaisedInProcess(f"{self.failure.type}: {self.failure.message}", self.names)
        error.__cause__ = ChildTraceback(self.failure)
        return error


def _sendable(error: BaseException) -> bytes | None:
    """The exception as a text that can be read again. Many exceptions cannot: their constructors want other
    arguments."""
    try:
        text = pickle.dumps(error)
        pickle.loads(text)  # noqa: S301 - written in the line before
    except Exception:  # noqa: BLE001 - as above
        return None
    return text


def found(request: bytes) -> Callable[[], object]:
    """In the child: the call that a request asks for. Errors: those of importing the module and of reading the
    arguments."""
    module, name, arguments = pickle.loads(request)  # noqa: S301 - the parent has written it
    inside: object = importlib.import_module(module)
    function: Callable[..., object] = reduce(getattr, name.split("."), inside)  # type: ignore[assignment]  # by name
    return lambda: function(**arguments)


def called(call: Callable[[], object], to_json: ToJson) -> Returned | Raised:
    """In the child: call the function. Every exception is an answer, SystemExit too."""
    try:
        result = call()
        return Returned(None if result is None else result_of(result, to_json))
    except BaseException as error:  # noqa: BLE001 - see above
        return Raised.of(error)
