"""The collector's settings: one TOML file, every default visible here, unknown keys refused, all mistakes at once."""

from __future__ import annotations

import ipaddress
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent.common import logs
from agent.common.errors import describe
from agent.common.words import languages

DEFAULT_FILE = Path("/etc/nabz/collector.toml")
BROKER_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


class ConfigError(Exception):
    """Every mistake of the settings, one line each: file, key, rule, fix."""


def split_listen(text: str) -> tuple[str, int]:
    """("host", port) of ``host:port``; raises ValueError with the rule and an example."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or len(port) > 5 or not 0 <= int(port) <= 65535:
        raise ValueError("must be HOST:PORT with a port from 0 to 65535; write e.g. 127.0.0.1:8480")
    return host.strip("[]"), int(port)


def _listen(text: str) -> str:
    split_listen(text)
    return text


def _language(text: str) -> str:
    if text not in languages():
        raise ValueError(f"is no language here; use one of {' '.join(languages())}")
    return text


Language = Annotated[str, AfterValidator(_language)]


def _address(text: str) -> str:
    return _listen(text) if text else text


def _http(text: str) -> str:
    if text and not text.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://; write e.g. http://nabz.example.pk")
    return text.rstrip("/")


def _broker(text: str) -> str:
    scheme, separator, place = text.partition("://")
    if text != "embedded":
        if not separator or scheme not in BROKER_PORTS or not place or "/" in place or "@" in place:
            raise ValueError(
                'must be "embedded" or one of mqtt:// mqtts:// ws:// wss:// and HOST:PORT; write e.g. mqtt://127.0.0.1:1883'
            )
        split_listen(place if ":" in place else f"{place}:{BROKER_PORTS[scheme]}")
    return text


def split_broker(url: str) -> tuple[str, tuple[str, int]]:
    """(scheme, (host, port)) of an outside broker's URL."""
    scheme, _, place = url.partition("://")
    return scheme, split_listen(place if ":" in place else f"{place}:{BROKER_PORTS[scheme]}")


def is_loopback(listen: str) -> bool:
    host = split_listen(listen)[0]
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  compared with, not listened on
Listen = Annotated[str, AfterValidator(_listen)]
Address = Annotated[str, AfterValidator(_address)]
HttpUrl = Annotated[str, AfterValidator(_http)]
Event = Literal["raised", "cleared"]


class CollectorSection(BaseModel):
    """One table of the file. Descriptions stand beside the keys, so that docs, help and errors say the same."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


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


class DatabaseSection(CollectorSection):
    url: str = Field(
        default="",
        description="`sqlite:///FILE` or `postgresql+psycopg://USER@HOST/NAME`; empty: `nabz.db` in `data_dir`.",
    )
    ingest_url: str = Field(
        default="",
        description="The same database as a user of the role `nabz_ingest`, for what takes and judges readings; "
        "empty: as `url`.",
    )
    keep_url: str = Field(
        default="",
        description="The same database as a user of the role `nabz_migrate`, for housekeeping and migrations; "
        "empty: as `url`.",
    )


@dataclass(frozen=True)
class PublicEndpoint:
    """One way by which a gateway reaches the broker."""

    host: str
    port: int
    tls: bool = False
    transport: Literal["tcp", "websockets"] = "tcp"


def _way(url: str, public: str) -> PublicEndpoint:
    """To an outside broker, at its public address where it has another."""
    scheme, address = split_broker(url)
    place = split_listen(public) if public else address
    transport: Literal["tcp", "websockets"] = "websockets" if scheme in ("ws", "wss") else "tcp"
    return PublicEndpoint(*place, tls=scheme in ("mqtts", "wss"), transport=transport)


class ExternalBrokerSection(CollectorSection):
    """A broker of another make, whose files and sessions this collector looks after."""

    make: Literal["mosquitto", "nats"] = Field(description="Which.")
    url: Annotated[str, AfterValidator(_broker)] = Field(
        description="`mqtts://HOST:PORT` or `wss://` where it is reached, as in `[broker] url` or `also`."
    )
    folder: Path = Field(
        description="Where `nabz-collector broker-config` put its settings, writable to the collector."
    )
    reload: tuple[str, ...] = Field(
        default=(),
        description="What makes it read them anew, a word each, e.g. `systemctl reload mosquitto`; empty: something "
        "else does when they change (a systemd `.path` unit).",
    )


class BrokerSection(CollectorSection):
    url: Annotated[str, AfterValidator(_broker)] = Field(
        default="embedded",
        description="`embedded`: a broker inside; or any other: `mqtts://HOST:PORT`, `wss://` (WebSocket), or without "
        "TLS `mqtt://`, `ws://`.",
    )
    also: tuple[Annotated[str, AfterValidator(_broker)], ...] = Field(
        default=(),
        description="Further brokers to listen at, each by itself, with the same name and certificates: a gateway may "
        "be at any of them.",
    )
    public_also: tuple[Listen, ...] = Field(
        default=(), description="`HOST:PORT` of each of `also` as told to gateways, in its order; empty: as there."
    )
    outside: tuple[ExternalBrokerSection, ...] = Field(
        default=(),
        description="Brokers of other makes to keep: who may come and who is revoked reaches them within seconds.",
    )
    listen: Listen = Field(
        default="127.0.0.1:1883",
        description="Where the embedded broker listens without TLS for whoever comes: on loopback, for this machine.",
    )
    tls_listen: Address = Field(
        default="",
        description="Where it listens for gateways: MQTT over TLS 1.3, each with its certificate; e.g. `0.0.0.0:8883`.",
    )
    websocket_listen: Address = Field(
        default="", description="The same over WebSocket, for lines that let only the web through; e.g. `0.0.0.0:443`."
    )
    trust_network: bool = Field(
        default=False, description="Let `listen` be reached from the network without TLS. Only in a closed laboratory."
    )
    public: Address = Field(
        default="",
        description="`HOST:PORT` told to gateways at enrolment; empty: as `tls_listen`, else `listen`, or `url`.",
    )
    public_websocket: Address = Field(
        default="", description="`HOST:PORT` of MQTT over WebSocket and TLS, told to them as well; empty: as above."
    )
    services: tuple[str, ...] = Field(
        default=("nabz-collector",),
        description="Names of certificates that act as collector: they hear all gateways and send receipts and tasks.",
    )
    username: str = Field(default="", description="Name to log in at an outside broker with; empty: none.")
    password_file: Path | None = Field(default=None, description="File with the password for `username`.")
    ca_file: Path | None = Field(
        default=None,
        description="CA certificates that sign an outside broker's; empty: with `username` the system's, else our own.",
    )
    cert_file: Path | None = Field(
        default=None,
        description="Our certificate there, named as one of `services`; empty: as made by our own authority.",
    )
    key_file: Path | None = Field(default=None, description="The key of `cert_file`.")

    @model_validator(mode="after")
    def _safe(self) -> BrokerSection:
        """What one key alone cannot tell. Raises ValueError."""
        if self.url == "embedded" and not self.trust_network and not is_loopback(self.listen):
            raise ValueError(
                f"listen {self.listen} would let in anybody on the network; keep listen on 127.0.0.1 and set "
                'tls_listen = "0.0.0.0:8883" for gateways'
            )
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together; name both")
        if self.public_also and len(self.public_also) != len(self.also):
            raise ValueError(
                f"public_also has {len(self.public_also)} addresses, also {len(self.also)}; name one for each"
            )
        for listen, public in (("tls_listen", "public"), ("websocket_listen", "public_websocket")):
            place = getattr(self, listen)
            if place and split_listen(place)[0] in EVERYWHERE and not getattr(self, public):
                raise ValueError(
                    f"{listen} {place} is no address to tell gateways; set {public} to the HOST:PORT they reach"
                )
        return self

    @property
    def ways(self) -> list[PublicEndpoint]:
        """How gateways reach a broker, best first; told at enrolment and at each renewal."""
        if self.url == "embedded":
            main = PublicEndpoint(
                *split_listen(self.public or self.tls_listen or self.listen), tls=bool(self.tls_listen)
            )
            web = self.websocket_listen and (self.public_websocket or self.websocket_listen)
        else:
            main, web = _way(self.url, self.public), self.public_websocket
        ways = [main, *map(_way, self.also, self.public_also or [""] * len(self.also))]
        return [*ways, PublicEndpoint(*split_listen(web), tls=True, transport="websockets")] if web else ways


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


class WebSection(CollectorSection):
    listen: Listen = Field(default="127.0.0.1:8480", description="Where the pages and the enrolment are served.")
    public_url: HttpUrl = Field(default="", description="Address people and gateways use for it; empty: as `listen`.")


class EnrolmentSection(CollectorSection):
    listen: Address = Field(
        default="",
        description="Where gateways enrol and renew over TLS with a certificate of our own authority, e.g. "
        "`0.0.0.0:8443`; empty: only at `[web] listen`, which suits this machine alone.",
    )
    public_url: HttpUrl = Field(
        default="", description="Address gateways use for it, as `https://HOST:PORT`; empty: as `listen`."
    )
    approval: Literal["none", "second_person"] = Field(
        default="none",
        description="`second_person`: a gateway waits until somebody else than the maker of its token approves it; "
        "both by passphrase once `nabz-collector person add` has registered anybody.",
    )
    certificate_days: int = Field(
        default=30,
        ge=1,
        le=365,
        description="How long certificates last, renewed at half of it. No official figure exists: this is ours.",
    )


class MeasureSection(CollectorSection):
    enabled: bool = Field(
        default=True, description="Run the measurement server beside the collector, as a process of its own."
    )
    listen: Listen = Field(default="127.0.0.1:8481", description="Where the measurement server listens.")
    public_url: HttpUrl = Field(
        default="", description="Address gateways test against, told at enrolment; empty: as `listen`."
    )
    bandwidth_mbps: float = Field(
        default=1000.0,
        gt=0,
        le=1e6,
        description="What the measurement server's own line carries each way, in Mbit/s: it bounds the tests at once.",
    )
    line_mbps: float = Field(
        default=100.0,
        gt=0,
        le=1e6,
        description="The fastest line a center has, in Mbit/s: each test at once may need as much. No official figure.",
    )


class StandardSection(CollectorSection):
    files: tuple[Path, ...] = Field(
        default=(),
        description="The standard's versions, one file each; empty: the shipped example, which is not official.",
    )


class ChannelSection(CollectorSection):
    name: str = Field(min_length=1, max_length=64, description="Name of the channel in the log and on the pages.")
    url: str = Field(default="", description="An Apprise URL: mailto://, json://, tgram:// …")
    url_file: Path | None = Field(default=None, description="File with the URL instead, as it often holds a secret.")
    events: tuple[Event, ...] = Field(
        default=get_args(Event), description="Which changes of a flag it tells: raised, cleared."
    )
    languages: tuple[Language, ...] = Field(
        default=("en", "ur"), min_length=1, description="The languages of its messages, the first for the title."
    )

    def secret_url(self) -> str:
        """The URL, from its file if there is one. Raises ConfigError."""
        return read_secret(self.url_file, "[alerts.channels] url_file") if self.url_file else self.url


class AlertsSection(CollectorSection):
    every_s: float = Field(
        default=5.0, gt=0, le=3600, description="Pause between looks at the queue of alerts, in seconds."
    )
    channels: tuple[ChannelSection, ...] = Field(
        default=(), description="Where alerts go: `[[alerts.channels]]` once for each."
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


class Settings(CollectorSection):
    """The whole file."""

    collector: CollectorTable = CollectorTable()
    database: DatabaseSection = DatabaseSection()
    broker: BrokerSection = BrokerSection()
    web: WebSection = WebSection()
    enrolment: EnrolmentSection = EnrolmentSection()
    measure: MeasureSection = MeasureSection()
    standard: StandardSection = StandardSection()
    alerts: AlertsSection = AlertsSection()
    sweep: SweepSection = SweepSection()
    ingest: IngestSection = IngestSection()
    keep: KeepSection = KeepSection()

    @property
    def data_dir(self) -> Path:
        return self.collector.data_dir

    @property
    def database_url(self) -> str:
        return self.database.url or f"sqlite:///{self.data_dir / 'nabz.db'}"

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
        return self.web.public_url or f"http://{self.web.listen}"

    @property
    def broker_plain(self) -> tuple[str, int]:
        """(host, port) for whoever enrols without asking for a certificate, such as simulated gateways."""
        return self.broker_address if self.broker.ways[0].tls else self.broker_public

    @property
    def enrolment_url(self) -> str:
        own = f"https://{self.enrolment.listen}" if self.enrolment.listen else self.web_url
        return self.enrolment.public_url or own

    @property
    def measure_url(self) -> str:
        return self.measure.public_url or f"http://{self.measure.listen}"

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
        return Settings.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({describe(error)}); name a file that exists") from None
    except ValidationError as error:
        raise ConfigError("\n".join(_sentences(path, error))) from None
    except (ValueError, RecursionError) as error:  # tomllib's own, broken UTF-8, numbers of thousands of digits
        raise ConfigError(f"{path}: is not TOML ({describe(error)}); correct that line") from None


def read_secret(path: Path, key: str) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{key}: {path} cannot be read ({describe(error)}); make it readable to the collector's user"
        ) from None


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
