"""What an error of redis-py means: the store is away, cannot work as it is set up, or holds what we did not write.

The server's code decides ("READONLY …"), not the rest of the text. Redis 6.2 hides the code of an error inside a
script: "ERR Error running script (…): @user_script:12: @user_script: 12: -READONLY …".
"""

from __future__ import annotations

import re

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    ClusterCrossSlotError,
    ClusterDownError,
    ClusterError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from task_manager_core.domain.errors import BackendCorrupt, BackendError, BackendMisconfigured, BackendUnavailable

Failure = RedisError | RedisClusterException | OSError | UnicodeError
FAILURES = (RedisError, RedisClusterException, OSError, UnicodeError)
"""Everything that redis-py raises for reasons outside this process. asyncio's TimeoutError is an OSError."""

_LONGEST_REASON = 300
_TEMPORARY = frozenset(
    {"ASK", "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF"}
    | {"NOREPLICAS", "OOM", "READONLY", "TRYAGAIN", "UNBLOCKED", "UNKILLABLE"}
)
_REFUSED = frozenset({"CROSSSLOT", "DENIED", "MOVED", "NOAUTH", "NOPERM", "NOPROTO", "WRONGPASS"})
# How Redis 7 words a NOPERM inside a script: it has no code.
_DENIED_IN_A_SCRIPT = ("The user executing the script can't run this command", "ACL failure in script")
_CODE = re.compile(r"[A-Z]{3,}(?= )")
_HIDDEN_CODE = re.compile(r"@user_script: ?\d+: -?([A-Z]{3,}) ")
# redis-py cuts the code off where it makes a class of it.
_CODES_OF_CLASSES: tuple[tuple[type[Exception], str], ...] = (
    (MovedError, "MOVED"),
    (AskError, "ASK"),
    (OutOfMemoryError, "OOM"),
    (ReadOnlyError, "READONLY"),
    (NoPermissionError, "NOPERM"),
    (ClusterCrossSlotError, "CROSSSLOT"),
    (ClusterDownError, "CLUSTERDOWN"),
    # What remains of that kind: redis-py was sent from node to node until it had enough.
    (ClusterError, "TRYAGAIN"),
)


def code_of(error: Failure) -> str:
    """The server's error code, "" if it was not the server that spoke."""
    for kind, code in _CODES_OF_CLASSES:
        if isinstance(error, kind):
            return code
    if not isinstance(error, ResponseError):
        return ""
    said = str(error)
    found = _HIDDEN_CODE.search(said)
    if found is not None:
        return found.group(1)
    if any(words in said for words in _DENIED_IN_A_SCRIPT):
        return "NOPERM"
    found = _CODE.match(said)
    return "ERR" if found is None else found.group()


def translated(error: Failure, address: str, secrets: tuple[str, ...]) -> BackendError:
    """The error that a verb raises. No secret passes, whatever the text was."""
    said = " ".join(str(error).split())
    for secret in secrets:
        said = said.replace(secret, "***")
    code = code_of(error)
    if isinstance(error, MasterNotFoundError):
        said = "none of them names a primary"  # redis-py shows its clients instead.
    if code == "TRYAGAIN":
        said = "its slot is on its way from one node of the cluster to another"
    # A timeout has no text of its own.
    reason = f"{address}: {said or 'no answer in time'}"[:_LONGEST_REASON]
    if isinstance(error, (AuthenticationError, AuthenticationWrongNumberOfArgsError, AuthorizationError)):
        return BackendMisconfigured(f"the login was refused by {reason}")
    if isinstance(error, UnicodeError) or code == "WRONGTYPE":
        return BackendCorrupt("a key of this prefix", reason)
    if code in _REFUSED:
        return BackendMisconfigured(f"{reason} ({code})")
    if not code or code in _TEMPORARY:
        return BackendUnavailable(f"{reason} ({code})" if code else reason)
    if "user_script" in said:
        return BackendCorrupt("the keys of this prefix", reason)
    return BackendMisconfigured(f"{reason} ({code})")
