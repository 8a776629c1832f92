"""The storm in small (row 24): gateways with sessions and certificates of their own come back at once with a backlog.

The full count is `python -m bench storm --gateways 2000 --hours 12`.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import pytest

from bench.fleet import storm
from bench.ground.whole import ground
from tests.faults.master import check

GATEWAYS, HOURS = 20, 0.5


@pytest.mark.row(24)
@pytest.mark.control("a reading that never came, and one that came otherwise than promised", row=24)
def test_everybody_comes_back_over_tls_and_all_of_it_is_held_once(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    storm.arguments(parser)
    options = parser.parse_args(["--gateways", str(GATEWAYS), "--hours", str(HOURS), "--least", "0", "--minutes", "1"])
    with ground(tmp_path, GATEWAYS) as made:
        play = storm.Storm(made, options)
        made.serve()
        asyncio.run(play.run())
        promises = {item.gateway.spool: (item.gateway.next_seq - 1, item.gateway.chain) for item in play.returning}
        held = check(made.settings.database_url, promises)
        assert all(item.first_s is not None and not item.refused for item in play.returning)
        assert held.promised >= GATEWAYS * HOURS * 60 * 4
        assert held.clean
        assert held.held == held.promised

        # The controls of the check: a reading that never came, and one that came otherwise than it was promised.
        spool, (last, chain) = next(iter(promises.items()))
        assert check(made.settings.database_url, {spool: (last + 1, chain)}).lost == 1
        assert not check(made.settings.database_url, {spool: (last, bytes(32))}).clean
