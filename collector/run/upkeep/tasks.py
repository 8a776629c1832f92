"""The jobs of upkeep and of messages as periodic tasks, for `serve` and for `nabz-collector work` alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.common.config import Settings
from collector.desk.alerts.answers.mailbox import mailboxes
from collector.desk.alerts.outbox import Outbox
from collector.run.runtime import PeriodicTask
from collector.run.settings import read_channels, read_digest_times
from collector.run.transparency_log import TICK_S as LOG_TICK_S
from collector.run.transparency_log import TransparencyLog
from collector.run.upkeep.archiving import Archiving
from collector.run.upkeep.housekeeping import EVERY_S as HOUSEKEEPING_S
from collector.run.upkeep.housekeeping import Housekeeping
from collector.run.upkeep.jobs import Jobs
from collector.run.upkeep.night_audit import NightAudit
from collector.run.upkeep.releases import EVERY_S as RINGS_S
from collector.run.upkeep.releases import ReleaseRings
from collector.run.upkeep.witnesses import EVERY_S as WITNESSES_S
from collector.run.upkeep.witnesses import Witnesses
from collector.standard import Standards
from collector.store import Store
from collector.store.jobs.leases import RENEW_S

SHEETS_S = 20.0
CHILD_S = 15.0  # between two looks at work in a process of its own: more often than a lease runs out
DIGESTS_S = 60.0
ANSWERS_S = 2.0  # between two looks for presses of buttons


def upkeep_tasks(
    jobs: Jobs,
    settings: Settings,
    store: Store,
    keeper: Store,
    key: Ed25519PrivateKey,
    standards: Standards,
    words: Sequence[str],
    now_ms: Callable[[], int],
) -> list[PeriodicTask]:
    """`keeper` is opened as the owner of the tables; `words` are the options with which a child finds the settings."""
    housekeeping = Housekeeping(keeper, settings, standards, now_ms)
    log = TransparencyLog(keeper, settings, key, standards, now_ms)
    tasks = [
        jobs.task("housekeeping", HOUSEKEEPING_S, housekeeping.keep),
        jobs.shared_task("sheets", SHEETS_S, housekeeping.make_sheets),
        jobs.shared_task("reports", SHEETS_S, housekeeping.make_reports),
        jobs.task("log", LOG_TICK_S, log.tick),
    ]
    if settings.audit.witnesses:
        tasks.append(
            _only_with(jobs, "log", "witnesses", WITNESSES_S, Witnesses(keeper, settings.audit.witnesses).tick)
        )
    if settings.audit.share_pct:
        nights = NightAudit(store, settings, words, now_ms)
        tasks.append(jobs.task("audit", CHILD_S, nights.tick))
    if settings.archive.after_h:
        tasks.append(jobs.task("archive", CHILD_S, Archiving(words, now_ms).tick))
    if settings.updates.repository and settings.updates.online_key:
        rings = ReleaseRings(store, settings.updates.repository, settings.updates.online_key, now_ms)
        tasks.append(jobs.task("releases", RINGS_S, rings.tick))
    return tasks


def outbox_of(settings: Settings, store: Store, standards: Standards, now_ms: Callable[[], int]) -> Outbox:
    """Without channels it still empties the queue, so that a channel added later gets no old messages. Raises
    ConfigError."""
    return Outbox(
        store, read_channels(settings, store), standards, settings.web_url, now_ms,
        digest_times=read_digest_times(settings), mailboxes=mailboxes(settings.mailbox),
    )  # fmt: skip


def message_tasks(jobs: Jobs, settings: Settings, outbox: Outbox) -> list[PeriodicTask]:
    """The first sends what is due. One job for all three: whoever has it also takes answers."""

    return [
        jobs.task("alerts", settings.alerts.every_s, outbox.tick, outbox.after_start),
        _only_with(jobs, "alerts", "digests", DIGESTS_S, outbox.make_digests),
        _only_with(jobs, "alerts", "answers", ANSWERS_S, outbox.poll_answers),
    ]


def _only_with(jobs: Jobs, job: str, name: str, pause_s: float, work: Callable[[], object]) -> PeriodicTask:
    """Work that belongs to a job, at a pace of its own."""

    def tick() -> None:
        if jobs.holds(job):
            work()

    return PeriodicTask(name, pause_s, tick)


def lease_task(jobs: Jobs) -> PeriodicTask:
    return PeriodicTask("leases", RENEW_S, jobs.tick)
