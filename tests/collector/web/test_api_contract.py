"""The API under requests that its own description makes: schemathesis draws paths, queries and bodies, good and bad."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from collector.access.accounts import api_keys
from collector.common.scope import EVERYWHERE
from collector.standard import Standards
from tests.collector.empty_stores import empty_store

pytestmark = pytest.mark.slow

EXAMPLES = 60  # of each method of each path


def test_no_request_that_the_description_makes_is_a_server_error(
    tmp_path: Path, standards: Standards, cast: object
) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="its extra, `check`, is not installed")
    from schemathesis.checks import not_a_server_error

    store = empty_store(tmp_path / "nabz.sqlite")
    cast.add_fleet(store, 6)
    cast.add_full_center(store, "KHI-0001")
    cast.add_story(store, "KHI-0001")
    with store.write() as conn:
        key = api_keys.add(conn, "schemathesis", "desk", EVERYWHERE, 90, "Root", cast.NOW_MS)
    headers, counts, failures = {"authorization": f"Bearer {key}"}, Counter[str](), []
    try:
        with cast.serve(store, standards, tmp_path) as site:
            schema = schemathesis.openapi.from_url(f"{site.url}/api/v1/openapi.json", headers=headers)
            for result in schema.get_all_operations():
                operation = result.ok()
                if operation.path == "/api/v1/live":  # a stream without an end
                    continue

                @given(case=operation.as_strategy())
                @settings(
                    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
                    suppress_health_check=list(HealthCheck),
                )  # fmt: skip
                def ask(case) -> None:
                    answer = case.call(base_url=site.url, headers=headers, timeout=60)
                    counts[f"{answer.status_code}"] += 1
                    case.validate_response(answer, checks=(not_a_server_error,))
                    assert answer.status_code != 401, "the key is a good one"

                try:
                    ask()
                except BaseExceptionGroup as found:
                    failures.append(f"{operation.method.upper()} {operation.path}: {found}")
    finally:
        store.close()
    print(f"{counts.total()} requests: {dict(counts)}")
    assert failures == []
    assert counts.total() > 300
    assert counts["200"] > 50
