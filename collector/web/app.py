"""The web application: its parts put together."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from agent.common.logs import Event
from agent.common.words import FOLDER
from collector.access.accounts import directory, passkeys
from collector.access.accounts.oidc import OidcClient
from collector.access.accounts.second_factors import Seal
from collector.access.ca import Authority
from collector.access.enrolment import EnrolmentFacts
from collector.access.signing_key import drawing_secret, push_key_text
from collector.acts.channels import channels_of
from collector.acts.notices import NoticeBoard, personal_channels
from collector.common.attachments import MAX_BYTES
from collector.common.config import ConfigError, Settings
from collector.common.scope import Scope
from collector.standard import Standards
from collector.store import Store, center_states, queries
from collector.web import api, auth, errors, incidents
from collector.web.decisions import disputes, drafts, proof, register, stories, visits
from collector.web.decisions import standards as standard_pages
from collector.web.desk import channels, desk_clock, routing, windows
from collector.web.fleet import evidence, layers, lists, map_page, mine, monthly, now, public, reports, setup
from collector.web.guard import Guard
from collector.web.health import Health
from collector.web.interfaces import answers, install, links, metrics, openapi, tables
from collector.web.limits import BodyLimit
from collector.web.live import Follower, Hub
from collector.web.machines import gateways, tiles
from collector.web.pages import (
    account,
    activity,
    approvals,
    backups,
    centers,
    contacts,
    incident_files,
    keys,
    log_in,
    oidc,
    people,
    questions,
    test_now,
)
from collector.web.pages import incidents as incident_pages
from collector.web.site import HERE, OUTLINES, Site

NO_ADMIN = Event(
    __name__, "info", "no_admin", "nobody can log in yet: open /login#token= with this file's token, or run "
    "`nabz-collector person add NAME --role admin`", fields="file",
)  # fmt: skip
PAGES = (
    log_in, oidc, centers, test_now, questions, approvals, backups, account, people, keys, contacts, activity,
    incident_pages, incident_files, channels, desk_clock, routing, windows, layers, now, lists, map_page, mine, setup,
    monthly, evidence, reports, public, disputes, standard_pages, drafts, proof, visits, register, stories,
)  # fmt: skip


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def build(
    store: Store,
    config: Settings,
    hub: Hub,
    *,
    standards: Standards,
    key: Ed25519PrivateKey,
    now: Callable[[], int] = now_ms,
    texts: Path = FOLDER,
    health: Health | None = None,
) -> FastAPI:
    """The application, to be served by one process; its `state.gateways` is the listener for gateways alone. `texts`
    is the folder of the languages.

    Makes the token of the first admin's link and the certificate authority in the data folder if there are none.

    `hub.close()` must be called before the server is asked to stop: open pages keep their streams until then.
    """
    with store.read() as conn:
        first_link = auth.FirstLink.load(config.data_dir, has_admin=directory.has_admin(conn))
    if first_link.is_open:
        NO_ADMIN.log(file=config.data_dir / auth.TOKEN_FILE)
    site = _site(store, config, hub, first_link, standards, key, now, texts, health or Health())
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan(site))
    app.state.gateways = gateways.build(site, key, config.http.body_bytes)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    app.include_router(gateways.router(site, key))
    for part in (api, tiles, *PAGES, incidents, tables, answers, links, install, metrics):
        app.include_router(part.router(site))
    app.include_router(openapi.router(app))
    errors.add(app, site)
    app.add_middleware(GZipMiddleware, minimum_size=800, compresslevel=6)
    own_limits = {
        proof.PATH: config.audit.bundle_mb * 1_000_000 + config.http.body_bytes,
        disputes.FILES: MAX_BYTES + config.http.body_bytes,
        incident_files.PATHS: MAX_BYTES + config.http.body_bytes,
    }
    app.add_middleware(BodyLimit, limit_bytes=config.http.body_bytes, others=own_limits)
    app.add_middleware(Guard, site=site)
    return app


def build_enrolment(
    store: Store, config: Settings, hub: Hub, *, standards: Standards, key: Ed25519PrivateKey
) -> FastAPI:
    """The listener for gateways alone, for a process that serves nothing else."""
    closed = auth.FirstLink(config.data_dir / auth.TOKEN_FILE, None)
    site = _site(store, config, hub, closed, standards, key, now_ms, FOLDER, Health())
    return gateways.build(site, key, config.http.body_bytes)


def _site(
    store: Store,
    config: Settings,
    hub: Hub,
    first_link: auth.FirstLink,
    standards: Standards,
    key: Ed25519PrivateKey,
    now: Callable[[], int],
    texts: Path,
    health: Health,
) -> Site:
    personal = personal_channels(config)
    return Site(
        store,
        hub,
        standards,
        first_link,
        _enrolment_facts(config, key, now),
        Seal(key),
        passkeys.party_of(config.web_url),
        now,
        config.web.is_secure,
        texts=texts,
        health=health,
        providers=config.measure.providers,
        oidc=_oidc_client(config),
        requires_second_proof=config.web.second_proof == "required",
        boundaries=config.web.boundaries or OUTLINES,
        is_public=config.web.public_page,
        data_dir=config.data_dir,
        enrolment_url=config.enrolment_url,
        desk_telephone=config.web.desk_telephone,
        board=NoticeBoard(personal, config.web_url),
        channels=channels_of(config),
        drawing_secret=drawing_secret(key),
        dispute_days=config.disputes.file_within_days,
        signature=config.reports,
        releases=config.updates.repository,
        sms_secret=config.alerts.sms_secret(),
        push_key=push_key_text(key) if any(one.address == "push" for one in personal) else "",
        push_services=config.alerts.push_services,
    )


def _oidc_client(config: Settings) -> OidcClient | None:
    """Raises ConfigError where the extra is missing."""
    section = config.oidc
    if not section.issuer:
        return None
    if find_spec("joserfc") is None:
        raise ConfigError("[oidc] issuer: needs the package joserfc; install the extra `oidc`, or leave the issuer out")
    back = f"{config.web_url.rstrip('/')}{oidc.PATH}/back"
    return OidcClient(section.issuer, section.client_id, section.client_secret(), back, section.label)


def _enrolment_facts(config: Settings, key: Ed25519PrivateKey, now: Callable[[], int]) -> EnrolmentFacts:
    host, port = config.broker_plain
    return EnrolmentFacts(
        collector_key=key.public_key().public_bytes_raw(),
        broker_host=host,
        broker_port=port,
        measure_url=config.measure_url,
        brokers=[dataclasses.asdict(way) for way in config.broker.ways],
        authority=Authority(config.data_dir, now(), config.enrolment.certificate_days),
        approval=config.enrolment.approval,
    )


def _lifespan(site: Site) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        def look(codes: Collection[str] | None) -> Collection[Mapping[str, Any]]:
            with site.store.read() as conn:
                ranks = site.ranks(conn)
                rows = center_states.pulses(conn, ranks) if codes is None else queries.pulses(conn, ranks, codes)
                return [dict(row) for row in rows]

        follower = Follower(look)

        def describe(codes: Collection[str], scopes: Collection[Scope]) -> Mapping[Scope, bytes]:
            news = follower.describe(codes, scopes)
            site.hub.moves = follower.moves
            return news

        await asyncio.to_thread(follower.start)
        telling = asyncio.create_task(site.hub.run(describe))
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    return lifespan
