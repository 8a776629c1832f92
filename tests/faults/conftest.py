"""What the rows of the torture suite share: a seed that can be replayed, and how hard to try."""

from __future__ import annotations

import random

import pytest


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    chosen = request.config.getoption("--fault-seed")
    value: int = chosen if chosen is not None else random.SystemRandom().randrange(2**31)
    print(f"replay with --fault-seed {value}")
    return value


@pytest.fixture
def torture(request: pytest.FixtureRequest) -> bool:
    """Full counts, not the quick ones."""
    return bool(request.config.getoption("--torture"))
