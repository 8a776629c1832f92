"""The page on which a bundle is checked: a file of strangers, so by `nabz-verify` itself, in a process of its own that
may take so much memory and time and no more, one at a time."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from agent.common.reasons import Reason
from collector.log.notes import NoteError, NoteKey
from collector.web import forms
from collector.web.errors import Mistaken
from collector.web.site import Site
from collector.web.view import View

PATH = "/proof"
MAX_MEMORY = 1 << 30  # bytes of its address space
MAX_CPU_S = 120
MAX_S = 300
MAX_KEY = 400  # letters
NAME = "bundle.zip"
UNREADABLE = 2  # exit code of nabz-verify
LOOKED = {  # counts, and their words
    "batches": "proof.batches", "readings": "proof.readings", "records": "proof.records", "leaves": "proof.leaves",
    "sheets": "proof.sheets",
}  # fmt: skip


def router(site: Site) -> APIRouter:
    routes, turn = APIRouter(), threading.Lock()

    @routes.get(PATH)
    def shown(request: Request) -> Response:
        return _page(site, request)

    @routes.post(PATH)
    async def check(request: Request) -> Response:
        async with forms.with_file(request, "bundle") as (given, file):
            return await run_in_threadpool(_check, site, request, turn, given, file.file)

    return routes


class BundleRefused(Exception):
    """No answer can be given of this file."""

    def __init__(self, code: str, **params: str) -> None:
        super().__init__(code)
        self.reason = Reason.of(code, **params)


def _check(site: Site, request: Request, turn: threading.Lock, given: dict[str, str], file: BinaryIO) -> Response:
    keys = {name: " ".join(given.get(name, "").split())[:MAX_KEY] for name in ("key", "witness")}
    if not turn.acquire(blocking=False):
        raise Mistaken(503, "bundle: another is being checked; try again in a minute, or use nabz-verify")
    try:
        outcome = checked(file, keys["key"], keys["witness"])
    except BundleRefused as refused:
        return _page(site, request, keys, why=refused.reason)
    finally:
        turn.release()
    return _page(site, request, keys, outcome=outcome)


def checked(file: BinaryIO, key: str, witness: str, memory: int = MAX_MEMORY) -> dict[str, Any]:
    """What `nabz-verify --json` says of it. Raises BundleRefused."""
    for text in (key, witness):
        try:
            NoteKey.parse(text) if text else None
        except NoteError as error:
            raise BundleRefused("proof.key", text=str(error)) from None
    words = [f"--{name}={text}" for name, text in (("key", key), ("witness", witness)) if text]
    with tempfile.TemporaryDirectory(prefix="nabz-bundle-") as folder:
        path = Path(folder) / NAME
        with path.open("wb") as target:
            shutil.copyfileobj(file, target)
        return _answer([sys.executable, "-m", "collector.verifier", str(path), "--json", *words], memory)


def _answer(argv: Sequence[str], memory: int) -> dict[str, Any]:
    """Of one who has so much memory and time."""
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as process:
        resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (MAX_CPU_S, MAX_CPU_S))
        try:
            out, err = process.communicate(timeout=MAX_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise BundleRefused("proof.limits", command="nabz-verify") from None
    if process.returncode == UNREADABLE:
        last = err.decode(errors="replace").strip().splitlines()[-1:]
        raise BundleRefused("proof.unreadable", text="".join(last).partition(f"{NAME}: ")[2][:300])
    if process.returncode not in (0, 1):
        raise BundleRefused("proof.limits", command="nabz-verify")
    try:
        outcome: dict[str, Any] = json.loads(out)
    except ValueError:  # a traceback, whose exit code is 1
        raise BundleRefused("proof.limits", command="nabz-verify") from None
    return outcome


def _page(
    site: Site, request: Request, keys: dict[str, str] | None = None, *, outcome: dict[str, Any] | None = None,
    why: Reason | None = None,
) -> Response:  # fmt: skip
    return View.of(site, request).page(
        "proof.html", status=400 if why else 200, keys=keys or {"key": "", "witness": ""}, found=outcome, why=why,
        looked=LOOKED,
    )  # fmt: skip
