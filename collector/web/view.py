"""One answer in the making: the reader's language and theme, and the templates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal
from urllib.parse import urlencode

from fastapi import Request
from starlette.responses import HTMLResponse, Response

from agent.common.words import languages
from collector.access.accounts.policy import Account, allowed
from collector.common.html_words import HtmlWords, html_words
from collector.web import auth, i18n
from collector.web.format import Show
from collector.web.site import Site, templates

THEMES = ("auto", "light", "dark")
DIGITS = ("latin", "own")
LANG_COOKIE, THEME_COOKIE, DIGITS_COOKIE = "nabz_lang", "nabz_theme", "nabz_digits"
MENU = {  # pages, and the action that each is
    "account": "account.own", "contacts": "contacts.list", "routing": "routing.read", "windows": "windows.read",
    "people": "people.manage", "keys": "keys.manage", "activity": "activity.read",
}  # fmt: skip
ROOMS = {  # of the navigation: where each leads, the action that it is, and what else lies in it
    "mine": ("/mine", "mine.read", ()),
    "now": ("/now", "now.read", ("/incidents", "/alerts")),
    "centers": ("/", "centers.list", ("/centers/", "/waiting")),
    "map": ("/map", "map.read", ()),
    "months": (
        "/months", "months.read",
        ("/disputes", "/standards", "/drafts", "/proof", "/visits", "/calendar", "/confirmations"),
    ),
    "setup": (
        "/setup", "setup.read",
        ("/people", "/keys", "/routing", "/windows", "/contacts", "/activity", "/backups", "/settings"),
    ),
}  # fmt: skip
YEAR_S = 365 * 86_400


def home(account: Account | None) -> str:
    """The page that an account begins with: the first room of the navigation that it may enter."""
    return next((path for path, action, _ in ROOMS.values() if allowed(account, action)), "/")


@dataclass(frozen=True)
class View:
    """What a page needs to know of the request it answers."""

    site: Site
    request: Request
    words: HtmlWords
    theme: str
    show: Show

    @classmethod
    def of(cls, site: Site, request: Request, *, first: str = "") -> View:
        """`first` is the language of a page whose readers have not chosen one."""
        params, kept = request.query_params, request.cookies
        accepted = first or request.headers.get("accept-language", "")
        lang = i18n.choose(params.get("lang"), kept.get(LANG_COOKIE), accepted, site.texts)
        wanted = params.get("theme") or kept.get(THEME_COOKIE, "auto")
        digits = params.get("digits") or kept.get(DIGITS_COOKIE, "latin")
        words = html_words(lang, site.texts, own_digits=digits == "own")
        theme = wanted if wanted in THEMES else "auto"
        account = auth.account_of(request)
        sees_all = account is not None and account.scope.is_all
        return cls(site, request, words, theme, Show(words, site.now(), site.zone, site.standards, sees_all))

    def here(self, **changes: object) -> str:
        """The address of this page with some of its questions changed; None or "" takes one away."""
        params = {
            key: value
            for key, value in self.request.query_params.items()
            if key not in ("lang", "theme", "digits", "token")
        }
        params.update({key: str(value or "") for key, value in changes.items()})
        query = urlencode({key: value for key, value in params.items() if value})
        return self.request.url.path + (f"?{query}" if query else "")

    def _room(self) -> str:
        """The room of the navigation that this page lies in."""
        path = self.request.url.path
        names = (name for name, (home, _, within) in ROOMS.items() if path == home or path.startswith(within))
        return next(names, "")

    def page(self, template: str, *, status: int = 200, **values: object) -> Response:
        page = templates().get_template(template)
        html = page.render(
            view=self,
            t=self.words,
            show=self.show,
            here=self.here,
            themes=THEMES,
            languages=languages(self.site.texts),
            account=auth.account_of(self.request),
            may=partial(auth.may, self.request),
            menu=MENU,
            rooms=ROOMS,
            home=home(auth.account_of(self.request)),
            room=self._room(),
            wall=self.request.query_params.get("wall") == "1",
            form_mark=auth.form_mark(self.request.cookies.get(auth.COOKIE)),
            **values,
        )
        answer = HTMLResponse(html, status, headers={"content-language": self.words.lang})
        settings: tuple[tuple[Literal["lang", "theme", "digits"], str, str], ...] = (
            ("lang", LANG_COOKIE, self.words.lang),
            ("theme", THEME_COOKIE, self.theme),
            ("digits", DIGITS_COOKIE, "own" if self.words.digits else "latin"),
        )
        for question, cookie, value in settings:
            if question in self.request.query_params:
                answer.set_cookie(cookie, value, max_age=YEAR_S, samesite="lax", secure=self.site.secure)
        return answer
