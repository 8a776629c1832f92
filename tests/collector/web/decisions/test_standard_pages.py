"""The page of the standard's versions."""

from __future__ import annotations

from collector.access.accounts.policy import Role
from tests.collector.web.decisions.test_dispute_pages import logged_in, send


def test_one_proposes_and_another_adopts(served, cast, standards) -> None:
    version = standards.versions[0]
    given = {"digest": version.digest, "reason": "<b>12"}
    people: tuple[tuple[str, Role], ...] = (("Amna Two", "admin"), ("Sara", "auditor"), ("Dana", "desk"))
    with logged_in(served, cast, *people[0]) as client:
        before = client.get("/standards").text
        assert "Shipped, not adopted" in before
        assert send(client, "/standards", "/standards", act="propose", **given).status_code == 303
        own = send(client, "/standards", "/standards", act="adopt", **given)
        assert own.status_code == 400
        assert "another person" in own.text
        assert "<b>12" not in own.text
    with logged_in(served, cast, *people[1]) as client:
        assert send(client, "/standards", "/standards", act="adopt", **given).status_code == 303
        assert send(client, "/standards", "/standards", act="eat", **given).status_code == 400
    with logged_in(served, cast, *people[2]) as client:
        page = client.get("/standards?lang=ur").text
        assert "اختیار شدہ" in page
        assert '<form method="post" action="/standards' not in page
