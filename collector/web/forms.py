"""What every form of the pages is held to: it was made by this session, and pressed on a page of this site; and the
files that come with one."""

from __future__ import annotations

import hmac
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.responses import Response

from agent.common.reasons import Reason
from collector.common.attachments import MEDIA, Kind
from collector.common.scope import Scope
from collector.web import auth
from collector.web.errors import Mistaken

MAX_SCOPE = 4000  # letters of one part of a scope
OWN = ("same-origin", "none")


@dataclass(frozen=True)
class FormMistake:
    """What is wrong with what was typed: in which form of the page, at which of its fields."""

    form: str
    field: str
    reason: Reason


def check(request: Request, mark: str) -> None:
    """Raises Mistaken (403)."""
    if not is_of_this_site(request):
        raise Mistaken(403, "form: came from a page of another site; open the page here and press its button")
    if not hmac.compare_digest(auth.form_mark(request.cookies.get(auth.COOKIE)).encode(), mark.encode()):
        raise Mistaken(403, "form: is not of this session; open the page again and press its button")


async def given(request: Request) -> dict[str, str]:
    """The texts of a form that was made here. Raises Mistaken (403)."""
    fields = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
    check(request, fields.get("mark", ""))
    return fields


@asynccontextmanager
async def with_file(request: Request, name: str) -> AsyncIterator[tuple[dict[str, str], UploadFile]]:
    """The texts of a form that was made here, and the one file that came with it, for as long as the block lasts.
    Raises Mistaken (403, 400)."""
    async with request.form(max_files=1, max_fields=16) as form:
        fields = {key: value for key, value in form.items() if isinstance(value, str)}
        check(request, fields.get("mark", ""))
        file = form.get(name)
        if not isinstance(file, UploadFile) or not file.size:
            raise Mistaken(400, "form: has no file; choose one and press the button again")
        yield fields, file


def stranger_file(name: str, kind: Kind, body: bytes) -> Response:
    """An answer with a file that a person gave: no browser takes it for a page of ours."""
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",  # RFC 6266
        "content-security-policy": "default-src 'none'; sandbox",
    }
    return Response(body, media_type=MEDIA[kind], headers=headers)


def is_of_this_site(request: Request) -> bool:
    """What the browser says of the page a form was sent from (Fetch Metadata, else Origin of RFC 6454). Programs and
    old browsers say nothing; the mark holds for them."""
    fetch_site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if fetch_site is not None:
        return fetch_site in OWN
    return origin is None or urlsplit(origin).netloc == request.headers.get("host", "")


def scope_of(owner: str, district: str, province: str) -> Scope:
    """A scope as people write it: values with semicolons or line ends between them."""
    texts = {"owner": owner, "district": district, "province": province}
    return Scope(**{name: frozenset(_values(text)) for name, text in texts.items()})


def _values(text: str) -> list[str]:
    values = (" ".join(part.split()) for part in re.split(r"[;\n]", text[:MAX_SCOPE]))
    return [value for value in values if value and value.isprintable()]
