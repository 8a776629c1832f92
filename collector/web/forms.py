"""What every form of the pages is held to: it was made by this session, and pressed on a page of this site."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import Request

from collector.web import auth
from collector.web.errors import Mistaken
from collector.web.site import Site

OWN = ("same-origin", "none")


def check(site: Site, request: Request, mark: str) -> None:
    """Raises Mistaken (403)."""
    if not is_of_this_site(request):
        raise Mistaken(403, "form: came from a page of another site; open the page here and press its button")
    if not site.door.is_form_of(request.cookies.get(auth.COOKIE), mark):
        raise Mistaken(403, "form: is not of this session; open the page again and press its button")


def is_of_this_site(request: Request) -> bool:
    """What the browser says of the page a form was sent from (Fetch Metadata, else Origin of RFC 6454). Programs and
    old browsers say nothing; the mark holds for them."""
    fetch_site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if fetch_site is not None:
        return fetch_site in OWN
    return origin is None or urlsplit(origin).netloc == request.headers.get("host", "")
