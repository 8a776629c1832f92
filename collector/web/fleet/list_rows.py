"""The rows of the list as markup. Of a fleet most centers stay as they are from one view to the next, and making their
rows costs more than all else of a page: each is made once for what it shows, and its ages are put in afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from collector.common.html_words import HtmlWords
from collector.desk.risk.rows import MonthRisk
from collector.store.queries import STATES
from collector.web.format import Show, day_marks
from collector.web.site import Site, templates
from collector.web.view import View

SHOWN = (
    "center", "name", "state", "city", "province", "criterion", "reason", "verdict", "memory", "value", "bound",
    "open_flags", "unknown", "opens_ms", "owner", "isp",
)  # fmt: skip
KEPT = 8192  # rows, of about a kilobyte
SINCE, HEARD = Markup("\0since\0"), Markup("\0heard\0")  # where the ages go


class RowMarkup:
    """Makes rows of one site's list, and keeps them."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._made = lru_cache(KEPT)(self._make)
        self._macro = lru_cache(16)(self._macro_of)

    def rows(
        self,
        view: View,
        rows: Sequence[Mapping[str, Any]],
        hours: Mapping[str, Sequence[bool]],
        risks: Mapping[str, Sequence[MonthRisk]],
    ) -> list[Markup]:
        """`hours` and `risks` as of `Site.open_hours` and `month_risks.of_centers`."""
        show, shown = view.show, []
        for row in rows:
            facts = tuple(row[name] for name in SHOWN)
            marks = day_marks(row["hours_ranks"], hours[row["opening"]])
            heard_ms = row["heard_ms"] if row["state"] == "silent" else None  # of others it is an age alone
            risk = risks[row["center"]][0] if row["center"] in risks else None
            head, between, end = self._made(view.words, show.names_others, facts, heard_ms, marks, risk)
            since, heard = show.since(row["state_since_ms"]), show.since(row["heard_ms"])
            shown.append(Markup(f"{head}{since}{between}{heard}{end}"))  # noqa: S704 - of a template
        return shown

    def _make(
        self,
        words: HtmlWords,
        names_others: bool,
        facts: tuple[Any, ...],
        heard_ms: int | None,
        marks: str,
        risk: MonthRisk | None,
    ) -> tuple[str, str, str]:
        """Around the two ages. Of what it is given alone: the template finds nothing else."""
        row = dict(zip(SHOWN, facts, strict=True)) | {"heard_ms": heard_ms}
        text = str(self._macro(words, names_others)(row, marks, risk, SINCE, HEARD))
        head, _, rest = text.partition(SINCE)
        between, _, end = rest.partition(HEARD)
        return head, between, end

    def _macro_of(self, words: HtmlWords, names_others: bool) -> Callable[..., str]:
        """The template's macro in one language: making its surroundings costs half of a row."""
        show = Show(words, 0, self._site.zone, self._site.standards, names_others)
        named = {"t": words, "show": show}
        parts: Any = templates().get_template("parts.html").make_module(named)
        badges = {state: parts.badge(state, words(f"state.{state}")) for state in STATES}
        module: Any = templates().get_template("row.html").make_module({**named, "badges": badges})
        return module.tr  # type: ignore[no-any-return]
