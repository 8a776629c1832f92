"""What the pages and the API work with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
import sqlalchemy as sa

from agent import __version__
from agent.common.center_time import TZ
from agent.common.words import FOLDER
from collector.access.accounts.oidc import OidcClient
from collector.access.accounts.passkeys import Party
from collector.access.accounts.second_factors import Seal
from collector.access.enrolment import EnrolmentFacts
from collector.acts.channels import ChannelFacts
from collector.acts.notices import NoticeBoard
from collector.common.config import ReportsSection
from collector.judging.current import ranks_now
from collector.register import calendar
from collector.register.opening_hours import is_open, parse
from collector.register.providers import Providers
from collector.standard import Standards
from collector.store import Store, queries
from collector.store.rollups import HOUR_MS
from collector.web.auth import FirstLink
from collector.web.health import Health
from collector.web.live import Hub

HERE = Path(__file__).parent
OUTLINES = (
    HERE / "static" / "vendor" / "outlines.json"
)  # of provinces; derived while the package is built (hatch_build.py)
ZONE = ZoneInfo(TZ)


@dataclass(frozen=True)
class Site:
    """What the pages and the API work with; its parts are fixed."""

    store: Store
    hub: Hub
    standards: Standards
    first_link: FirstLink
    facts: EnrolmentFacts
    seal: Seal
    party: Party | None  # this site to passkeys
    now: Callable[[], int]
    secure: bool  # served over https, so its cookies travel over nothing else
    zone: ZoneInfo = ZONE
    texts: Path = FOLDER  # the files of the languages
    version: str = __version__
    oidc: OidcClient | None = None  # by which people may log in beside their passwords
    requires_second_proof: bool = False  # of the desk and of admins
    providers: Providers = field(default_factory=dict)
    health: Health = field(default_factory=Health)
    boundaries: Path = OUTLINES  # GeoJSON that the map draws
    data_dir: Path | None = None
    is_public: bool = False  # whether strangers may see how districts do
    desk_telephone: str = ""  # E.164, or a short code
    enrolment_url: str = ""  # where gateways enrol
    board: NoticeBoard = field(default_factory=NoticeBoard)  # how persons are told
    channels: tuple[ChannelFacts, ...] = ()  # all that the settings name
    drawing_secret: bytes = b""  # of which lists of visits are drawn
    dispute_days: int = 30  # for how long a closed month may be disputed
    signature: ReportsSection = field(default_factory=ReportsSection)  # by which key reports are signed
    releases: Path | None = None  # the repository of releases that gateways take
    push_key: str = ""  # ours to push services, in base64url; empty: no channel sends to devices
    push_services: Sequence[str] = ()  # whose devices may be named
    sms_secret: str = ""  # by which the gateway of text messages signs answers; empty: none are taken

    def ranks(self, conn: sa.Connection) -> queries.Ranks:
        """How criteria weigh now, and which opening hours are closed."""
        return ranks_now(conn, self.standards, self.now())

    def open_hours(self, conn: sa.Connection, rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Sequence[bool]]:
        """Of the opening hours of these centers: whether each of the last 24 hours was open, the running one last."""
        now_ms = self.now()
        days = calendar.around(conn, now_ms).common
        middles = [now_ms // HOUR_MS * HOUR_MS + HOUR_MS // 2 - back * HOUR_MS for back in range(23, -1, -1)]
        texts = {row["opening"]: parse(row["opening"], rules=days) for row in rows}
        return {text: [is_open(opening, at_ms) for at_ms in middles] for text, opening in texts.items()}


@cache
def templates() -> jinja2.Environment:
    """The pages' templates, each compiled once a process."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["static"] = static_address
    return environment


@cache
def static_address(name: str) -> str:
    """The address of a file under static/, which changes with its content: browsers may keep it for good."""
    digest = hashlib.sha256((HERE / "static" / name).read_bytes()).hexdigest()[:10]
    return f"/static/{name}?v={digest}"
