"""Forged, replayed, reordered, expired, revoked, wrong-topic, oversized, bomb: through TLS and a real broker to the
real ingest, with the broker's rules switched off, then with the check of signatures switched off. Accepted: 0.

Each layer alone must hold. The controls switch both off and must see what then comes through.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import rig
from tests.faults.hostile.test_wire_soak import SIGNATURE_OFF

SHORT_TIMES, TIMES = 2, 300

ACL_OFF = {
    "amqtt": [("collector/access/acl.py", 'root, _, rest = topic.partition(wire.ROOT + "/")', "return True")],
    "mosquitto": [("collector/brokers/generated_config.py", '            f"acl_file {site.folder}/acl",\n', "")],
}
# Without names the insider comes in as the victim, and a revoked certificate as itself.
NAMES_OFF = {
    "amqtt": [("collector/access/acl.py", "    if not named:", "    if False:")],
    "mosquitto": [("collector/brokers/generated_config.py", '        "use_username_as_clientid true",\n', "")],
}
STANDS = {"signature": lambda make: [*ACL_OFF[make], *NAMES_OFF[make]], "acl": lambda _make: SIGNATURE_OFF}


def besieged(folder: Path, seed: int, times: int, make: str, layers: str, source: Path = rig.ROOT) -> dict[str, int]:
    figures = rig.work("tests.faults.hostile.listener_soak", folder / make, seed, times, make, layers, source=source)
    n = figures["attacks"]
    print(f"{make}, {layers} stands: {figures}; n={n}, accepted below 3/n = {3 / n:.1e} at 95 %")
    return figures


SLOW = pytest.mark.slow
RUNS = [
    pytest.param("amqtt", "signature"),
    pytest.param("amqtt", "acl"),
    pytest.param("amqtt", "both", marks=SLOW),
    *(pytest.param("mosquitto", layers, marks=SLOW) for layers in ("both", "signature", "acl")),
]


@pytest.mark.parametrize(("make", "layers"), RUNS)
@pytest.mark.row(28, 30)
def test_each_layer_alone_keeps_out_all_that_is_hostile(
    make: str, layers: str, seed: int, torture: bool, tmp_path: Path
) -> None:
    source = rig.plant(tmp_path, STANDS[layers](make)) if layers in STANDS else rig.ROOT
    times = TIMES if torture else SHORT_TIMES
    figures = besieged(tmp_path, seed, times, make, layers, source)
    assert {word: count for word, count in figures.items() if "accepted" in word or word == "other_rows"} == {
        "other_rows": 0
    }
    assert figures["honest"] == times + 1


@pytest.mark.parametrize("make", ["amqtt", pytest.param("mosquitto", marks=SLOW)])
@pytest.mark.control("the broker's rules and the check of signatures are both off", row=30)
def test_two_layers_that_are_off_are_seen(make: str, seed: int, tmp_path: Path) -> None:
    source = rig.plant(tmp_path, [*ACL_OFF[make], *NAMES_OFF[make], *SIGNATURE_OFF])
    figures = besieged(tmp_path, seed, SHORT_TIMES, make, "both", source)
    assert figures["accepted: the insider on the victim's topic"] > 0
