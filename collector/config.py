"""The collector's settings: one TOML file, every default visible here, unknown keys refused, all mistakes at once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

DEFAULT_FILE = Path("/etc/nabz/collector.toml")
BROKER_PORTS = {"mqtt": 1883, "mqtts": 8883}


class ConfigError(Exception):
    """Every mistake of the settings, one line each: file, key, rule, fix."""


def split_listen(text: str) -> tuple[str, int]:
    """("host", port) of ``host:port``; raises ValueError with the rule and an example."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise ValueError("must be HOST:PORT with a port from 0 to 65535; write e.g. 127.0.0.1:8480")
    return host.strip("[]"), int(port)


def _listen(text: str) -> str:
    split_listen(text)
    return text


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
                'must be "embedded", mqtt://HOST:PORT or mqtts://HOST:PORT; write e.g. mqtt://127.0.0.1:1883'
            )
        split_listen(place if ":" in place else f"{place}:{BROKER_PORTS[scheme]}")
    return text


Listen = Annotated[str, AfterValidator(_listen)]
Address = Annotated[str, AfterValidator(_address)]
HttpUrl = Annotated[str, AfterValidator(_http)]
Event = Literal["raised", "cleared"]


class Section(BaseModel):
    """One table of the file. Descriptions stand beside the keys, so that docs, help and errors say the same."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Collector(Section):
    data_dir: Path = Field(
        default=Path("data"), description="Folder of the collector's key and, with SQLite, its database."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="How much the log says."
    )


class Database(Section):
    url: str = Field(
        default="",
        description="`sqlite:///FILE` or `postgresql+psycopg://USER@HOST/NAME`; empty: `nabz.db` in `data_dir`.",
    )


class Broker(Section):
    url: Annotated[str, AfterValidator(_broker)] = Field(
        default="embedded",
        description="`embedded`: a broker inside; or any other: `mqtt://HOST:PORT`, `mqtts://HOST:PORT`.",
    )
    listen: Listen = Field(
        default="127.0.0.1:1883", description="Where the embedded broker listens; gateways must reach it."
    )
    public: Address = Field(
        default="", description="`HOST:PORT` told to gateways at enrolment; empty: as `listen` or `url`."
    )
    username: str = Field(default="", description="Name to log in at an outside broker with; empty: none.")
    password_file: Path | None = Field(default=None, description="File with the password for `username`.")
    ca_file: Path | None = Field(default=None, description="CA certificates for `mqtts`; empty: the system's.")


class Web(Section):
    listen: Listen = Field(default="127.0.0.1:8480", description="Where the pages and the enrolment are served.")
    public_url: HttpUrl = Field(default="", description="Address people and gateways use for it; empty: as `listen`.")


class Measure(Section):
    enabled: bool = Field(
        default=True, description="Run the measurement server beside the collector, as a process of its own."
    )
    listen: Listen = Field(default="127.0.0.1:8481", description="Where the measurement server listens.")
    public_url: HttpUrl = Field(
        default="", description="Address gateways test against, told at enrolment; empty: as `listen`."
    )


class Standard(Section):
    files: tuple[Path, ...] = Field(
        default=(),
        description="The standard's versions, one file each; empty: the shipped example, which is not official.",
    )


class Channel(Section):
    name: str = Field(min_length=1, max_length=64, description="Name of the channel in the log and on the pages.")
    url: str = Field(default="", description="An Apprise URL: mailto://, json://, tgram:// …")
    url_file: Path | None = Field(default=None, description="File with the URL instead, as it often holds a secret.")
    events: tuple[Event, ...] = Field(
        default=get_args(Event), description="Which changes of a flag it tells: raised, cleared."
    )

    def secret_url(self) -> str:
        """The URL, from its file if there is one. Raises ConfigError."""
        return read_secret(self.url_file, "[alerts.channels] url_file") if self.url_file else self.url


class Alerts(Section):
    every_s: float = Field(
        default=5.0, gt=0, le=3600, description="Pause between looks at the queue of alerts, in seconds."
    )
    channels: tuple[Channel, ...] = Field(
        default=(), description="Where alerts go: `[[alerts.channels]]` once for each."
    )


class Sweep(Section):
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


class Settings(Section):
    """The whole file."""

    collector: Collector = Collector()
    database: Database = Database()
    broker: Broker = Broker()
    web: Web = Web()
    measure: Measure = Measure()
    standard: Standard = Standard()
    alerts: Alerts = Alerts()
    sweep: Sweep = Sweep()

    @property
    def data_dir(self) -> Path:
        return self.collector.data_dir

    @property
    def database_url(self) -> str:
        return self.database.url or f"sqlite:///{self.data_dir / 'nabz.db'}"

    @property
    def web_url(self) -> str:
        return self.web.public_url or f"http://{self.web.listen}"

    @property
    def measure_url(self) -> str:
        return self.measure.public_url or f"http://{self.measure.listen}"

    @property
    def broker_address(self) -> tuple[str, int]:
        """(host, port) the collector itself connects to."""
        if self.broker.url == "embedded":
            return split_listen(self.broker.listen)
        scheme, _, place = self.broker.url.partition("://")
        return split_listen(place if ":" in place else f"{place}:{BROKER_PORTS[scheme]}")

    @property
    def broker_public(self) -> tuple[str, int]:
        """(host, port) told to gateways."""
        return split_listen(self.broker.public) if self.broker.public else self.broker_address


def load(path: Path) -> Settings:
    """The settings of one file. Raises ConfigError with all mistakes."""
    try:
        return Settings.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a file that exists") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML ({error}); correct that line") from None
    except ValidationError as error:
        raise ConfigError("\n".join(_sentences(path, error))) from None


def read_secret(path: Path, key: str) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: {path} cannot be read ({error}); make it readable to the collector's user") from None


def _sentences(path: Path, error: ValidationError) -> list[str]:
    return [
        f"{path}: {_key(mistake['loc'])}: {_rule(mistake['type'], mistake['msg'], mistake['loc'])}"
        for mistake in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _key(place: tuple[int | str, ...]) -> str:
    section, *rest = (str(part) if isinstance(part, str) else f"#{part + 1}" for part in place)
    return f"[{section}] {' '.join(rest)}".strip()


def _rule(kind: str, message: str, place: tuple[int | str, ...]) -> str:
    if kind == "extra_forbidden":
        return f"there is no such {'table' if len(place) == 1 else 'key'}; remove it or correct its name"
    if kind == "missing":
        return "is needed; add it"
    return f"{message.removeprefix('Value error, ').replace('Input should', 'should')}; correct it"
