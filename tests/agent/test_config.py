"""Settings: each broken file in config/ says in its first lines the exact mistakes it must be told."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from agent import config, config_file
from agent.common.center_time import slot_minutes

BROKEN = sorted(Path(__file__).with_name("config").glob("*.toml"))


@pytest.mark.row(62)
@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_every_mistake_is_told_with_file_key_rule_and_fix(path: Path) -> None:
    wanted = [line.removeprefix("# expects: ") for line in path.read_text().splitlines() if line.startswith("# exp")]
    with pytest.raises(config_file.SettingsError) as refusal:
        config_file.load(path)
    assert refusal.value.mistakes == [f"{path}: {mistake}" for mistake in wanted]


def test_a_good_file_gives_typed_settings(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('[agent]\ncycle_s = 30\n[[ups]]\nname = "rack"\nhost = "192.0.2.1"\n')
    settings = config_file.load(path)
    assert (settings.agent.cycle_s, settings.ups[0].name, settings.spool.max_mb) == (30.0, "rack", 64)


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("")
    assert config_file.load(path) == config.AgentSettings()


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"[agent\n", "is not TOML"), (b"\xff\xfe", "is not TOML"), (None, "cannot be read")]
)
def test_a_file_that_cannot_be_read_is_one_clear_mistake(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "agent.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(config_file.SettingsError, match=sentence):
        config_file.load(path)


def test_every_key_says_what_it_is() -> None:
    fields = [
        field for section in config.AgentSection.__subclasses__() for field in msgspec.structs.fields(section)
        if section is not config.AgentSettings
    ]  # fmt: skip
    assert len(fields) > 50
    assert [field.name for field in fields if len(config_file.help_of(field)) < 8] == []


@pytest.mark.parametrize(
    ("slot", "minutes"), [("00:00-24:00", (0, 1440)), ("08:30-09:00", (510, 540)), ("22:00-24:00", (1320, 1440))]
)
def test_a_slot_is_minutes_of_the_day(slot: str, minutes: tuple[int, int]) -> None:
    assert slot_minutes(slot) == minutes


@pytest.mark.parametrize("slot", ["", "8:00-9:00", "09:00-09:00", "23:00-01:00", "20:00-24:01", "09:60-10:00", "a"])
def test_what_is_no_slot_is_refused(slot: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(slot)}$"):
        slot_minutes(slot)
