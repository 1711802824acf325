"""The conformance suite: the tests that every store has to pass.

Each numbered law in the docstring of a port has one test with the same sentence as its docstring, in the file here that
has the name of the port. More tests check a law in situations where a store easily breaks it. The author of a store
writes one subclass and one fixture:

    class TestMyStore(BackendContract):
        @pytest_asyncio.fixture
        async def harness(self) -> AsyncIterator[Harness]:
            async with clock_harness(my_store.open_backend) as harness:
                yield harness

Or the author writes nothing and runs `python -m task_manager_core.testing.conformance my_store:open_backend`.
`ModelContract` compares a store with another store, step by step.
"""

from importlib.util import find_spec
from pkgutil import iter_modules

_MISSING = [needed for needed in ("hypothesis", "pytest", "pytest_asyncio") if find_spec(needed) is None]
if _MISSING:
    raise ImportError(f"{', '.join(_MISSING)} not found: pip install 'hexagonal-task-manager[testing]'")

import pytest  # noqa: E402 - the check above explains a missing pytest

# pytest rewrites the assertions of test files only. These modules are a library, so they ask for it.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))

from task_manager_core.testing.conformance.harness import (  # noqa: E402 - the registration comes first
    RETENTION,
    Harness,
    clock_harness,
)
from task_manager_core.testing.conformance.model import ModelContract, OpenHarness  # noqa: E402 - the same
from task_manager_core.testing.conformance.suite import BackendContract  # noqa: E402 - the same

__all__ = ["RETENTION", "BackendContract", "Harness", "ModelContract", "OpenHarness", "clock_harness"]
