"""The parts that other tests kill and start again do come up again."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir

from tests.faults.stacks import served_by


def test_a_cluster_starts_again_though_another_pytest_has_started_meanwhile(tmp_path: Path) -> None:
    """Each that starts takes everybody else's rights to the folder that all of them share."""
    with served_by(tmp_path, "postgresql", "amqtt") as (_house, base):
        base.kill()
        shared = next(place for place in tmp_path.parents if place.parent == Path(gettempdir()))
        shared.chmod(0o700)
        base.start()
