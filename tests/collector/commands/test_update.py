"""Releases by command, from the signers' keys to the last ring; and by the agent's own command from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collector.__main__ import main
from collector.remote.updates.packing import pack
from tests.collector.remote.updates.signed_repository import PLACE, Gateway
from tests.helpers import ROOT


class Tool:
    """The command, in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys, self.repo = folder, capsys, folder / "repository"

    def __call__(self, *words: str, fails: int = 0) -> Any:
        with_repo = [] if words[0] == "key" else ["--repo", str(self.repo)]
        assert main(["update", *words, *with_repo, "--json", "--data", str(self.folder / "data")]) == fails
        text = self.capsys.readouterr()
        return json.loads(text.out) if not fails else text.err + text.out

    def file(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Tool:
    """With three signers, a repository, and one release."""
    made = Tool(tmp_path, capsys)
    for name in ("a", "b", "c", "online"):
        made("key", made.file(f"{name}.key"))
    keys = [word for name in "abc" for word in ("--key", made.file(f"{name}.key.pub"))]
    made("init", *keys, "--online", made.file("online.key.pub"))
    for name in "ab":
        made("sign", "--key", made.file(f"{name}.key"))
    assert made("publish", "--online", made.file("online.key")) == ["root", "targets"]
    source = tmp_path / "source" / "agent"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text('__version__ = "0.9.0"\n')
    (source / "__main__.py").write_text("def main(argv):\n    return 0\n")
    return made


def test_a_release_from_the_signers_to_a_gateway(tool: Tool, tmp_path: Path) -> None:
    staged = tool("add", "--from", tool.file("source"), "--first", "C-1", "--needs", "0.2.0")
    assert staged == [{"role": "targets", "counted": 0, "needed": 2}]
    assert tool("sign", "--key", tool.file("a.key"))[0]["counted"] == 1
    assert "1 of 2 signatures" in tool("publish", "--online", tool.file("online.key"), fails=1)
    assert tool("sign", "--key", tool.file("c.key"))[0]["counted"] == 2
    assert tool("publish", "--online", tool.file("online.key")) == ["targets"]
    tool("root", "--out", tool.file("update-root.json"))
    gateway = Gateway(tmp_path / "gateway", (tmp_path / "update-root.json").read_bytes())
    assert gateway.choice(tool.repo).code == "held"
    assert tool("ring", "0.9.0", "--online", tool.file("online.key")) == {"open": 1, "before": 0, "health": None}
    taken = gateway.takes(tool.repo)
    assert taken == pack(tmp_path / "source")[1]
    assert tool("ring", "0.9.0", "--online", tool.file("online.key"), "--hold", fails=1)
    assert gateway.choice(tool.repo).code == "held"
    assert tool("status") == {"releases": [{"version": "0.9.0", "needs": "0.2.0", "open": 0}], "staged": []}
    tool("withdraw", "0.9.0")
    for name in "bc":
        tool("sign", "--key", tool.file(f"{name}.key"))
    tool("publish", "--online", tool.file("online.key"))
    assert gateway.choice(tool.repo).code == "current"
    assert PLACE.center == "C-1"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("add", "--from", "/nowhere", "--first", "C-1"), "name a wheel of nabz"),
        (("add", "--from", "source", "--first", "C-1", "--shares", "1,x"), "must be as many numbers"),
        (("add", "--from", "source", "--first", "C-1", "--shares", "10,1,100"), "must grow"),
        (("sign", "--key", "/nowhere.key"), "no key can be read"),
        (("ring", "9.9.9", "--online", "online.key"), "is not published"),
        (("withdraw", "9.9.9"), "is not published"),
        (("key", "a.key"), "a key is never written over"),
        (("init", "--key", "a.key.pub", "--threshold", "2", "--online", "online.key.pub"), "threshold 2"),
        (("init", "--key", "online.key.pub", "--threshold", "1", "--online", "online.key.pub"), "signer's too"),
    ],
)
def test_what_cannot_be_done_says_why_and_what_to_do(words: tuple[str, ...], sentence: str, tool: Tool) -> None:
    local = [tool.file(word) if word.endswith((".key", ".pub", "source")) else word for word in words]
    assert sentence in tool(*local, fails=1)


def test_the_same_modules_make_the_same_file_which_holds_nothing_else(tmp_path: Path) -> None:
    version, content = pack(ROOT)
    assert content == pack(ROOT)[1]
    assert len(content) < 1_000_000
    with pytest.raises(ValueError, match="has no agent"):
        pack(tmp_path)
    assert version
