"""Folders for gateways that join by themselves: `join.json` for the gateway, and a sheet for whoever installs it."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import segno
import sqlalchemy as sa

from agent.common.words import ENGLISH, catalogue
from collector.store import schema

JOIN_FILE = "join.json"
SHEET_FILE = "sheet.html"
LANGUAGES = ("ur", ENGLISH)
STEPS = ("power", "join", "approval", "reading")
STYLE = "body{font-family:sans-serif;max-width:40em;margin:2em auto;line-height:2} img{width:12em} ol{padding:0 1.5em}"


@dataclass(frozen=True, kw_only=True)
class PreparedGateway:
    """`url` is where it joins with `token`; `page` the address of the installer's page. The desk's number may be
    unknown."""

    center: str
    name: str
    url: str
    token: str
    page: str
    needs_approval: bool
    desk_telephone: str = ""


def next_centers(conn: sa.Connection, number: int, province: str | None, now_ms: int) -> list[str]:
    """Codes of as many centers as have neither a gateway nor a token that is still good, in order."""
    c, t, d = schema.centers.c, schema.tokens.c, schema.devices.c
    open_tokens = sa.select(t.center).where(t.used_ms.is_(None), t.expires_ms > now_ms)
    taken = sa.select(d.center).where(d.revoked_ms.is_(None))
    query = sa.select(c.center).where(c.lifecycle != "closed", c.center.not_in(open_tokens), c.center.not_in(taken))
    if province is not None:
        query = query.where(c.province == province)
    return [str(code) for code in conn.scalars(query.order_by(c.center).limit(number))]


def write_folder(out: Path, gateway: PreparedGateway) -> Path:
    """The center's folder; its join file is for its owner alone, as it holds the token. Raises OSError."""
    folder = out / gateway.center
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"url": gateway.url, "token": gateway.token, "center": gateway.center}
    join = folder / JOIN_FILE
    join.unlink(missing_ok=True)
    with os.fdopen(os.open(join, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\n")
    (folder / SHEET_FILE).write_text(sheet(gateway), "utf-8")
    return folder


def sheet(gateway: PreparedGateway) -> str:
    """One page to print, in Urdu and English; it shows the address of the installer's page, and no token."""
    picture = segno.make(gateway.page, error="m", micro=False).svg_data_uri(scale=5)
    steps = [step for step in STEPS if step != "approval" or gateway.needs_approval]
    parts = "\n".join(_part(lang, steps, gateway.desk_telephone) for lang in LANGUAGES)
    title = f"{html.escape(gateway.name)} <bdi>({html.escape(gateway.center)})</bdi>"
    return (
        f'<!doctype html>\n<html lang="ur" dir="rtl">\n<head><meta charset="utf-8"><title>{html.escape(gateway.center)}'
        f"</title><style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
        f'<p><img src="{picture}" alt="{html.escape(gateway.page)}"></p>\n{parts}\n</body>\n</html>\n'
    )


def _part(lang: str, steps: Iterable[str], telephone: str) -> str:
    words = catalogue(lang)
    items = "".join(f"<li>{html.escape(words.texts[f'install.step.{step}'])}</li>" for step in steps)
    texts = [html.escape(words.texts[f"install.{name}"]) for name in ("title", "scan", "stuck")]
    desk = html.escape(words.texts["install.desk"])
    call = f"<p>{desk}: <bdi>{html.escape(telephone)}</bdi></p>" if telephone else ""
    return f'<section lang="{lang}" dir="{words.direction}"><h2>{texts[0]}</h2><p>{texts[1]}</p><ol>{items}</ol>' \
           f"<p>{texts[2]}</p>{call}</section>"  # fmt: skip
