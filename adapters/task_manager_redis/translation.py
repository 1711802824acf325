"""Translate an error of redis-py: the store is unavailable, it is misconfigured, or it holds values that are not ours.

The error code of the server decides ("READONLY …"), not the rest of the text. For an error inside a script, Redis 6.2
puts the code in the middle of the text (https://github.com/redis/redis/issues/10165):
"ERR Error running script (…): @user_script:12: @user_script: 12: -READONLY …".
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
"""All errors that redis-py raises for reasons outside this process. The builtin TimeoutError is an OSError."""

_LONGEST_REASON = 300
_TEMPORARY = frozenset(
    {"ASK", "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF"}
    | {"NOREPLICAS", "OOM", "READONLY", "TRYAGAIN", "UNBLOCKED", "UNKILLABLE"}
)
_REFUSED = frozenset({"CROSSSLOT", "DENIED", "MOVED", "NOAUTH", "NOPERM", "NOPROTO", "WRONGPASS"})
# The texts of Redis 7 for a NOPERM inside a script. They have no code: https://github.com/redis/redis/pull/11160
_DENIED_IN_A_SCRIPT = ("The user executing the script can't run this command", "ACL failure in script")
_CODE = re.compile(r"[A-Z]{3,}(?= )")
_HIDDEN_CODE = re.compile(r"@user_script: ?\d+: -?([A-Z]{3,}) ")
# For these classes redis-py removes the code from the text.
_CODES_OF_CLASSES: tuple[tuple[type[Exception], str], ...] = (
    (MovedError, "MOVED"),
    (AskError, "ASK"),
    (OutOfMemoryError, "OOM"),
    (ReadOnlyError, "READONLY"),
    (NoPermissionError, "NOPERM"),
    (ClusterCrossSlotError, "CROSSSLOT"),
    (ClusterDownError, "CLUSTERDOWN"),
    # A ClusterError of no other class: redis-py gave up after too many redirections from node to node.
    (ClusterError, "TRYAGAIN"),
)


def code_of(error: Failure) -> str:
    """The error code of the server; "" if the error did not come from the server."""
    for kind, code in _CODES_OF_CLASSES:
        if isinstance(error, kind):
            return code
    if not isinstance(error, ResponseError):
        return ""
    text = str(error)
    found = _HIDDEN_CODE.search(text)
    if found is not None:
        return found.group(1)
    if any(words in text for words in _DENIED_IN_A_SCRIPT):
        return "NOPERM"
    found = _CODE.match(text)
    return "ERR" if found is None else found.group()


def translated(error: Failure, address: str, secrets: tuple[str, ...]) -> BackendError:
    """The error that a verb raises. Its text contains no secret."""
    text = " ".join(str(error).split())
    for secret in secrets:
        text = text.replace(secret, "***")
    code = code_of(error)
    if isinstance(error, MasterNotFoundError):
        text = "none of them names a primary"  # The text of redis-py shows its client objects.
    if code == "TRYAGAIN":
        text = "its slot moves from one node of the cluster to another"
    # A timeout has an empty text.
    reason = f"{address}: {text or 'no answer in time'}"[:_LONGEST_REASON]
    if isinstance(error, (AuthenticationError, AuthenticationWrongNumberOfArgsError, AuthorizationError)):
        return BackendMisconfigured(f"the login was refused by {reason}")
    if isinstance(error, UnicodeError) or code == "WRONGTYPE":
        return BackendCorrupt("a key of this prefix", reason)
    if code in _REFUSED:
        return BackendMisconfigured(f"{reason} ({code})")
    if not code or code in _TEMPORARY:
        return BackendUnavailable(f"{reason} ({code})" if code else reason)
    if "user_script" in text:
        return BackendCorrupt("the keys of this prefix", reason)
    return BackendMisconfigured(f"{reason} ({code})")
