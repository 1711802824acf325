"""The whole suite for one store."""

from __future__ import annotations

from task_manager_core.testing.conformance.backend import BackendLaws
from task_manager_core.testing.conformance.backend_batches import BackendBatches
from task_manager_core.testing.conformance.backend_pairs import BackendPairs
from task_manager_core.testing.conformance.backend_threads import BackendThreads
from task_manager_core.testing.conformance.backend_unreadable import BackendUnreadable
from task_manager_core.testing.conformance.catalogue import CatalogueLaws
from task_manager_core.testing.conformance.catalogue_edges import CatalogueEdges
from task_manager_core.testing.conformance.catalogue_ended import EndedTasks
from task_manager_core.testing.conformance.dispatch import DispatchLaws
from task_manager_core.testing.conformance.dispatch_edges import DispatchEdges
from task_manager_core.testing.conformance.history import HistoryContract
from task_manager_core.testing.conformance.leadership import LeadershipLaws
from task_manager_core.testing.conformance.leadership_deposition import Deposition
from task_manager_core.testing.conformance.membership import MembershipContract
from task_manager_core.testing.conformance.notifier import NotifierContract
from task_manager_core.testing.conformance.races import RaceContract
from task_manager_core.testing.conformance.races_interleaved import InterleavedRaces
from task_manager_core.testing.conformance.run_queue import RunQueueLaws
from task_manager_core.testing.conformance.run_queue_attempts import RunQueueAttempts
from task_manager_core.testing.conformance.run_queue_claims import RunQueueClaims
from task_manager_core.testing.conformance.run_queue_delays import RunQueueDelays
from task_manager_core.testing.conformance.run_queue_instants import RunQueueInstants
from task_manager_core.testing.conformance.run_queue_losses import RunQueueLosses
from task_manager_core.testing.conformance.run_queue_order import RunQueueOrder
from task_manager_core.testing.conformance.run_queue_replies import RunQueueReplies
from task_manager_core.testing.conformance.run_queue_scopes import RunQueueScopes
from task_manager_core.testing.conformance.run_queue_waiting import RunQueueWaiting


class CrossPortContract(BackendLaws, BackendBatches, BackendPairs, BackendThreads, BackendUnreadable):
    """The laws of all verbs and their edges."""


class LeadershipContract(LeadershipLaws, Deposition):
    """The laws of leadership. The second part needs tasks, too."""


class CatalogueContract(CatalogueLaws, CatalogueEdges, EndedTasks):
    """The laws of the catalogue and their edges."""


class RunQueueContract(
    RunQueueLaws,
    RunQueueOrder,
    RunQueueWaiting,
    RunQueueClaims,
    RunQueueReplies,
    RunQueueLosses,
    RunQueueInstants,
    RunQueueAttempts,
    RunQueueDelays,
    RunQueueScopes,
):
    """The laws of the run queue and their edges."""


class DispatchContract(DispatchLaws, DispatchEdges):
    """The laws of dispatch and their edges."""


class BackendContract(
    LeadershipContract,
    CatalogueContract,
    DispatchContract,
    RunQueueContract,
    HistoryContract,
    MembershipContract,
    NotifierContract,
    RaceContract,
    InterleavedRaces,
    CrossPortContract,
):
    """All laws of all ports. A subclass has the fixture `harness`."""
