"""The recipe of the container images and the compose file, held against the settings and ports that they name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from collector.common.config import load
from tests.helpers import ROOT

FOLDER = ROOT / "deb" / "containers"
RECIPE = (FOLDER / "Containerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
OURS = ("collector", "measure")


def stage(name: str) -> str:
    return RECIPE.split(f"AS {name}\n")[1].split("\nFROM ")[0]


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_container_is_read_only_without_rights_and_watched(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["user"] not in ("root", "0")
    assert "healthcheck" in service or "HEALTHCHECK" in stage(name)
    written = [volume.split(":")[0] for volume in service["volumes"] if not volume.endswith(":ro")]
    assert set(written) <= COMPOSE["volumes"].keys()


@pytest.mark.parametrize("name", OURS)
def test_each_image_has_a_user_and_a_volume_of_its_own(name: str) -> None:
    text = stage(name)
    assert f"USER nabz-{name}\n" in text
    assert f"VOLUME /var/lib/nabz-{name}\n" in text
    assert COMPOSE["services"][name]["build"]["target"] == name
    published = {entry.split(":")[1] for entry in COMPOSE["services"][name]["ports"]}
    exposed = re.search(r"^EXPOSE (.+)$", text, re.MULTILINE)
    assert exposed is not None
    assert published == set(exposed[1].split())


def test_the_settings_are_settings_and_listen_where_the_ports_are(tmp_path: Path) -> None:
    text = (FOLDER / "collector.toml").read_text()
    for name in ("cert", "key"):
        (tmp_path / name).write_text("")
        text = text.replace(f"/run/secrets/web_{name}", str(tmp_path / name))
    (tmp_path / "collector.toml").write_text(text)
    settings = load(tmp_path / "collector.toml")
    assert {settings.web.listen, settings.enrolment.listen, settings.broker.tls_listen} == {
        "0.0.0.0:8480", "0.0.0.0:8443", "0.0.0.0:8883",
    }  # fmt: skip
