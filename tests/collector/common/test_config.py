"""The settings: defaults that work, and every mistake named at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from collector.common.config import ChannelSection, ConfigError, Settings, load


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "collector.toml"
    path.write_text(text)
    return path


def mistakes(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, text))
    return [line.removeprefix(f"{tmp_path}/collector.toml: ") for line in str(refused.value).splitlines()]


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    settings = load(written(tmp_path, ""))
    assert settings == Settings()
    assert settings.database_url == "sqlite:///data/nabz.db"
    assert settings.broker_address == settings.broker_public == ("127.0.0.1", 1883)
    assert settings.web_url == "http://127.0.0.1:8480"


def test_addresses_told_to_others_may_differ(tmp_path: Path) -> None:
    settings = load(
        written(
            tmp_path,
            '[broker]\nurl = "mqtts://broker.example.pk"\npublic = "203.0.113.7:8883"\n'
            '[web]\npublic_url = "https://nabz.example.pk/"\n[measure]\npublic_url = "http://speed.example.pk"',
        )
    )
    assert settings.broker_address == ("broker.example.pk", 8883)
    assert settings.broker_public == ("203.0.113.7", 8883)
    assert (settings.web_url, settings.measure_url) == ("https://nabz.example.pk", "http://speed.example.pk")


@pytest.mark.row(62)
def test_all_mistakes_are_told_at_once_with_key_rule_and_fix(tmp_path: Path) -> None:
    text = (
        '[web]\nlisten = "8480"\ncolour = 1\n[collector]\nlog_level = "loud"\n[sweep]\nevery_s = 0\n[nonsense]\na = 1'
    )
    found = mistakes(tmp_path, text)
    assert sorted(line.split(":")[0] for line in found) == [
        "[collector] log_level", "[nonsense]", "[sweep] every_s", "[web] colour", "[web] listen",
    ]  # fmt: skip
    assert "[web] listen: must be HOST:PORT with a port from 0 to 65535; write e.g. 127.0.0.1:8480; correct it" in found
    assert "[web] colour: there is no such key; remove it or correct its name" in found
    assert "[nonsense]: there is no such table; remove it or correct its name" in found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[broker]\nurl = "http://x"', "[broker] url: must be"),
        ('[broker]\nurl = "mqtt://u:p@host:1883"', "[broker] url: must be"),
        ('[broker]\nurl = "mqtt://host:99999"', "[broker] url: must be HOST:PORT"),
        ('[broker]\nlisten = ":1883"', "[broker] listen: must be HOST:PORT"),
        ('[measure]\npublic_url = "speed.example.pk"', "[measure] public_url: must begin with http"),
        ('[[alerts.channels]]\nurl = "json://x"', "[alerts] channels #1 name: is needed; add it"),
        ('[[alerts.channels]]\nname = "a"\nevents = ["burned"]', "[alerts] channels #1 events #1: should be"),
        (
            '[web]\nlisten = "0.0.0.0:80"',
            "[web]: listen 0.0.0.0:80 without TLS would send sessions and",
        ),
        ('[web]\nlisten = "[::]:80"', "[web]: listen [::]:80 without TLS"),
        ('[web]\nproxy = ["nginx"]', "[web]: proxy must be IP addresses"),
        ('[web]\ncert_file = "x.pem"', "[web]: cert_file and key_file belong together"),
        ("[web]\nlisten = 1", "[web] listen: should be a valid string"),
        ("web = 1", "[web]: should be a valid dictionary"),
    ],
)
def test_a_wrong_value_is_told(tmp_path: Path, text: str, sentence: str) -> None:
    assert mistakes(tmp_path, text)[0].startswith(sentence)


def test_a_secret_is_never_repeated_in_a_mistake(tmp_path: Path) -> None:
    assert "hunter2" not in str(mistakes(tmp_path, '[broker]\nurl = "mqtt://u:hunter2@host"'))


def test_a_file_that_is_absent_or_no_toml_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="is not TOML"):
        load(written(tmp_path, "[web"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not TOML"):
        load(tmp_path / "bytes.toml")


def test_a_channel_may_keep_its_url_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("tgram://token/chat\n")
    assert ChannelSection(name="desk", url_file=tmp_path / "secret").secret_url() == "tgram://token/chat"
    with pytest.raises(ConfigError, match="cannot be read"):
        ChannelSection(name="desk", url_file=tmp_path / "absent").secret_url()


def test_every_setting_says_what_it_is() -> None:
    def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
        return [field.annotation for field in model.model_fields.values()]

    for section in [*sections(Settings), ChannelSection]:
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"


@pytest.mark.parametrize(
    ("text", "secure", "proxies"),
    [
        ("", False, ()),
        ('[web]\nlisten = "[::1]:80"', False, ()),
        ('[web]\nlisten = "0.0.0.0:80"\nproxy = ["192.0.2.5"]', True, ("192.0.2.5",)),
        ('[web]\nlisten = "0.0.0.0:443"\ncert_file = "a"\nkey_file = "b"', True, ()),
        ('[web]\npublic_url = "https://nabz.example.pk"', True, ("127.0.0.1", "::1")),
    ],
)
def test_pages_are_on_loopback_or_behind_tls(tmp_path: Path, text: str, secure: bool, proxies: tuple[str, ...]) -> None:
    web = load(written(tmp_path, text)).web
    assert (web.is_secure, web.proxies) == (secure, proxies)


@pytest.mark.parametrize(
    ("everywhere", "public", "host"),
    [("0.0.0.0", "nabz.example.pk", "nabz.example.pk"), ("[::]", "[2001:db8::5]", "[2001:db8::5]")],
)
def test_gateways_are_told_of_a_listener_on_all_addresses_by_the_brokers_host(
    tmp_path: Path, everywhere: str, public: str, host: str
) -> None:
    text = (
        f'[broker]\ntls_listen = "{everywhere}:8883"\npublic = "{public}:8883"\n'
        f'[enrolment]\nlisten = "{everywhere}:8443"\n[measure]\nlisten = "{everywhere}:8481"\n'
    )
    settings = load(written(tmp_path, text))
    assert (settings.enrolment_url, settings.measure_url) == (f"https://{host}:8443", f"http://{host}:8481")
