"""The collector's settings: one TOML file, every default visible here, unknown keys refused, all mistakes at once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from agent.common import logs
from agent.common.errors import describe
from agent.common.files import parse_toml
from collector.common.config.alerts import AlertsSection, ChannelSection, MailboxSection
from collector.common.config.archive import ArchiveSection
from collector.common.config.backup import BackupSection
from collector.common.config.broker import BrokerSection, ExternalBrokerSection
from collector.common.config.endpoint import (
    EVERYWHERE,
    Address,
    HttpUrl,
    PublicEndpoint,
    is_loopback,
    split_broker,
    split_listen,
)
from collector.common.config.http import HttpSection, WebSection
from collector.common.config.measure import MeasureSection
from collector.common.config.oidc import OidcSection
from collector.common.config.reports import ReportsSection
from collector.common.config.table import CollectorSection, ConfigError, read_secret
from collector.common.config.updates import UpdatesSection

__all__ = [
    "DEFAULT_FILE",
    "EVERYWHERE",
    "AlertsSection",
    "ArchiveSection",
    "BackupSection",
    "BrokerSection",
    "ChannelSection",
    "CollectorTable",
    "ConfigError",
    "DatabaseSection",
    "EnrolmentSection",
    "ExternalBrokerSection",
    "HttpSection",
    "KeepSection",
    "MailboxSection",
    "MeasureSection",
    "OidcSection",
    "PublicEndpoint",
    "ReportsSection",
    "Settings",
    "UpdatesSection",
    "WitnessSection",
    "is_loopback",
    "load",
    "read_secret",
    "split_broker",
    "split_listen",
]

DEFAULT_FILE = Path("/etc/nabz/collector.toml")


class CollectorTable(CollectorSection):
    data_dir: Path = Field(
        default=Path("data"), description="Folder of the collector's key and, with SQLite, its database."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="How much the log says."
    )
    log_format: logs.Format = Field(
        default="text", description="The log as text for people, or as json: one object a line (docs/logs.md)."
    )
    processes: Literal["split", "one"] = Field(
        default="split",
        description="`split`: pages and enrolment in processes of their own, so that whoever besieges them takes "
        "nothing from ingest; `one`: all in one, which saves some 100 MB of memory.",
    )
    jobs: bool = Field(
        default=True,
        description="Do upkeep, archive, audit and messages in `serve`; false leaves them to `nabz-collector work` on "
        "other machines.",
    )


class DatabaseSection(CollectorSection):
    url: str = Field(
        default="",
        description="`sqlite:///FILE` or `postgresql+psycopg://USER@HOST/NAME`; of a cluster all its hosts, as in "
        "`postgresql+psycopg://USER@/NAME?host=A,B,C&port=5432,5432,5432`: the one that leads is used. Empty: "
        "`nabz.db` in `data_dir`.",
    )
    ingest_url: str = Field(
        default="",
        description="The same database as a user of the role `nabz_ingest`, for what takes and judges readings; "
        "empty: as `url`.",
    )
    direct_url: str = Field(
        default="",
        description="Where `url` goes through a PgBouncer: the same database past it, for the two connections that "
        "have to keep a session of their own; empty: as `url`.",
    )
    keep_url: str = Field(
        default="",
        description="The same database as a user of the role `nabz_migrate`, for housekeeping and migrations; "
        "empty: as `url`.",
    )


class IngestSection(CollectorSection):
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes that take batches from the broker. More than one needs PostgreSQL and a broker with "
        "MQTT 5's shared subscriptions.",
    )
    shared: bool = Field(
        default=False,
        description="Share the subscription with `nabz-collector ingest` run elsewhere; with several `workers` it is.",
    )

    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65000,
        description="Port on this machine at which `nabz-collector ingest` serves `/metrics` for Prometheus; worker 2 "
        "has the next one, and so on. 0: none does. `serve` has its own at `[web] listen`.",
    )

    @property
    def shares(self) -> bool:
        return self.shared or self.workers > 1


class KeepSection(CollectorSection):
    """No official figure exists for any of these: they are ours."""

    raw_days: int = Field(
        default=400, ge=0, le=36_500, description="Days that readings are kept; 0: for ever. Reports need their month."
    )
    hours_days: int = Field(
        default=1100, ge=0, le=36_500, description="Days that the sums of hours are kept; 0: for ever."
    )
    evidence_days: int = Field(
        default=2600,
        ge=0,
        le=36_500,
        description="Days that the signed evidence and the sums of days are kept, longest of all; 0: for ever.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> KeepSection:
        longest = self.evidence_days or 10**9
        if max(self.raw_days or 10**9, self.hours_days or 10**9) > longest:
            raise ValueError("evidence_days must be the longest (or 0), so that what is shown can be proven")
        return self


class EnrolmentSection(CollectorSection):
    listen: Address = Field(
        default="",
        description="Where gateways enrol and renew over TLS with a certificate of our own authority, e.g. "
        "`0.0.0.0:8443`; empty: only at `[web] listen`, which suits this machine alone.",
    )
    public_url: HttpUrl = Field(
        default="",
        description="Address gateways use for it, as `https://HOST:PORT`; empty: as `listen`, "
        "by the host of our broker where that is all addresses.",
    )
    approval: Literal["none", "second_person"] = Field(
        default="none",
        description="`second_person`: a gateway waits until somebody else than the maker of its token approves it; "
        "both by password once `nabz-collector person add` has registered anybody.",
    )
    certificate_days: int = Field(
        default=30,
        ge=1,
        le=365,
        description="How long certificates last, renewed at half of it. No official figure exists: this is ours.",
    )


class StandardSection(CollectorSection):
    files: tuple[Path, ...] = Field(
        default=(),
        description="The standard's versions, one file each; empty: the shipped example, which is not official.",
    )


class SweepSection(CollectorSection):
    every_s: float = Field(
        default=15.0, gt=0, le=3600, description="Pause between looks for silent centers, in seconds."
    )
    silent_after_s: float = Field(
        default=300.0, ge=30, le=86400, description="How long a center may be silent before that is judged, in seconds."
    )
    gap_s: float = Field(
        default=180.0,
        ge=5,
        le=86400,
        description="A pause longer than this between two arrivals is a gap whose cause is looked for, in seconds.",
    )


class WitnessSection(CollectorSection):
    url: HttpUrl = Field(description="Where the witness listens: its submission prefix, without `add-checkpoint`.")
    key: str = Field(
        pattern=r"^[^\s+]{1,200}\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{40,60}$",
        description="Its public key, NAME+ID+KEY, as you know it from elsewhere.",
    )


class AuditSection(CollectorSection):
    share_pct: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description="Share of the centers whose month is verified from the signed bytes each night; 0: none.",
    )
    hour: int = Field(default=2, ge=0, le=23, description="The hour of Pakistan from which on a night's audit begins.")
    bundle_mb: int = Field(
        default=32,
        ge=1,
        le=256,
        description="The largest bundle that the page for checking one takes, in MB; `nabz-verify` takes any.",
    )
    witnesses: tuple[WitnessSection, ...] = Field(
        default=(),
        description="Witnesses to which the transparency log's newest head is brought each hour (C2SP tlog-witness): "
        "`[[audit.witnesses]]` once for each.",
    )


class DisputesSection(CollectorSection):
    file_within_days: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="Days after the newest report of a month was closed in which an operator may dispute it. No "
        "official figure exists: this is ours.",
    )


class Settings(CollectorSection):
    """The whole file."""

    collector: CollectorTable = CollectorTable()
    database: DatabaseSection = DatabaseSection()
    broker: BrokerSection = BrokerSection()
    web: WebSection = WebSection()
    oidc: OidcSection = OidcSection()
    http: HttpSection = HttpSection()
    enrolment: EnrolmentSection = EnrolmentSection()
    measure: MeasureSection = MeasureSection()
    standard: StandardSection = StandardSection()
    alerts: AlertsSection = AlertsSection()
    mailbox: MailboxSection = MailboxSection()
    sweep: SweepSection = SweepSection()
    ingest: IngestSection = IngestSection()
    keep: KeepSection = KeepSection()
    backup: BackupSection = BackupSection()
    audit: AuditSection = AuditSection()
    disputes: DisputesSection = DisputesSection()
    archive: ArchiveSection = ArchiveSection()
    reports: ReportsSection = ReportsSection()
    updates: UpdatesSection = UpdatesSection()

    @property
    def data_dir(self) -> Path:
        return self.collector.data_dir

    @property
    def services(self) -> tuple[str, ...]:
        """Names of certificates that act as collector: those of the settings, and one for each worker beside."""
        workers = range(2, self.ingest.workers + 1)
        return tuple(dict.fromkeys((*self.broker.services, *map(self.worker_service, workers))))

    def worker_service(self, number: int) -> str:
        """The name by which ingest worker `number` is known at a broker; the first has the collector's own."""
        name = self.broker.services[0]
        return name if number < 2 else f"{name}-{number}"

    @property
    def archive_folder(self) -> Path:
        return self.archive.folder or self.data_dir / "archive"

    @property
    def database_url(self) -> str:
        return self.database.url or f"sqlite:///{self.data_dir / 'nabz.db'}"

    @property
    def direct_url(self) -> str:
        """For connections that keep a session."""
        return self.database.direct_url or self.database_url

    @property
    def as_ingest(self) -> Settings:
        """As the role that takes readings."""
        return self._at(self.database.ingest_url)

    @property
    def as_keeper(self) -> Settings:
        """As the role that owns the tables."""
        return self._at(self.database.keep_url)

    def _at(self, url: str) -> Settings:
        return self.model_copy(update={"database": self.database.model_copy(update={"url": url})}) if url else self

    @property
    def web_url(self) -> str:
        return self.web.public_url or f"{'https' if self.web.cert_file else 'http'}://{self.web.listen}"

    @property
    def web_is_reached(self) -> bool:
        """Whether `web_url` may mean anything to another machine."""
        listen = self.web.listen
        return bool(self.web.public_url) or not (is_loopback(listen) or split_listen(listen)[0] in EVERYWHERE)

    @property
    def broker_plain(self) -> tuple[str, int]:
        """(host, port) for whoever enrols without asking for a certificate, such as simulated gateways."""
        return self.broker_address if self.broker.ways[0].tls else self.broker_public

    @property
    def enrolment_url(self) -> str:
        own = f"https://{self._reached(self.enrolment.listen)}" if self.enrolment.listen else self.web_url
        return self.enrolment.public_url or own

    @property
    def measure_url(self) -> str:
        return self.measure.public_url or f"http://{self._reached(self.measure.listen)}"

    def _reached(self, listen: str) -> str:
        """HOST:PORT by which gateways reach a listener of ours: one on all addresses by the host of our own broker."""
        host, port = split_listen(listen)
        if host not in EVERYWHERE or self.broker.url != "embedded":
            return listen
        known = self.broker_public[0]
        return f"[{known}]:{port}" if ":" in known else f"{known}:{port}"

    @property
    def broker_address(self) -> tuple[str, int]:
        """(host, port) the collector itself connects to."""
        return split_listen(self.broker.listen) if self.broker.url == "embedded" else split_broker(self.broker.url)[1]

    @property
    def broker_public(self) -> tuple[str, int]:
        """(host, port) told to gateways."""
        way = self.broker.ways[0]
        return way.host, way.port


def load(path: Path) -> Settings:
    """The settings of one file. Raises ConfigError with all mistakes."""
    try:
        return Settings.model_validate(parse_toml(path.read_bytes()))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({describe(error)}); name a file that exists") from None
    except ValidationError as error:
        raise ConfigError("\n".join(_sentences(path, error))) from None
    except (ValueError, RecursionError) as error:  # tomllib's own, broken UTF-8, numbers of thousands of digits
        raise ConfigError(f"{path}: is not TOML ({describe(error)}); correct that line") from None


def _sentences(path: Path, error: ValidationError) -> list[str]:
    return [
        f"{path}: {_key(mistake['loc'])}: {_rule(mistake['type'], mistake['msg'], mistake['loc'])}"
        for mistake in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _key(place: tuple[int | str, ...]) -> str:
    section, *rest = (_plain(part) if isinstance(part, str) else f"#{part + 1}" for part in place)
    return f"[{section}] {' '.join(rest)}".strip()


def _plain(key: str) -> str:
    """A key as it stands, or quoted when it would break the line."""
    return key if key.isprintable() else repr(key)


def _rule(kind: str, message: str, place: tuple[int | str, ...]) -> str:
    if kind == "extra_forbidden":
        return f"there is no such {'table' if len(place) == 1 else 'key'}; remove it or correct its name"
    if kind == "missing":
        return "is needed; add it"
    return f"{message.removeprefix('Value error, ').replace('Input should', 'should')}; correct it"
