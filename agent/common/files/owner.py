"""Whose the service's files are: the one place that decides it. Commands run as root write as that user, or refuse.

An installed gateway's service runs as a user of its own (systemd/nabz-agent.service), to whom a key or a folder that
root made is of no use. Only the standard library is needed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

UNIT = "nabz-agent.service"
UNIT_FOLDERS = tuple(map(Path, ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system",
                                "/usr/lib/systemd/system", "/lib/systemd/system")))  # fmt: skip


class OwnerError(Exception):
    """Root must not write here; the text names the thing, the rule and the fix."""


@dataclass(frozen=True)
class Owner:
    """A user of this machine, other than root."""

    name: str
    uid: int
    gid: int


def service_owner(folder: Path, *, is_installed: bool, units: Sequence[Path] = UNIT_FOLDERS) -> Owner | None:
    """Who may write in the state folder; None where that is whoever runs the command: somebody who is not root, or root
    where no service is installed. A folder that is somebody's says so itself; of root's, or one that is not there yet,
    the installed service's user. Raises OwnerError when that user does not exist."""
    if os.geteuid() != 0:
        return None
    import pwd

    with contextlib.suppress(OSError, KeyError):
        uid = folder.stat().st_uid
        if uid != 0:
            known = pwd.getpwuid(uid)
            return Owner(known.pw_name, uid, known.pw_gid)
    name = user_of_unit(units) if is_installed else None
    if name is None:
        return None
    try:
        known = pwd.getpwnam(name)
    except KeyError:
        raise OwnerError(f"user {name} of {UNIT}: does not exist; run `systemd-sysusers`") from None
    return Owner(name, known.pw_uid, known.pw_gid) if known.pw_uid else None


def user_of_unit(units: Sequence[Path] = UNIT_FOLDERS) -> str | None:
    """`User=` of the installed unit, the first folder's before the next one's; None where there is none."""
    for folder in units:
        with contextlib.suppress(OSError):
            lines = (folder / UNIT).read_text("utf-8", "replace").splitlines()
            return next((line.partition("=")[2].strip() for line in lines if line.startswith("User=")), None)
    return None


@contextlib.contextmanager
def acting_as(owner: Owner | None, folder: Path, *, make: bool = False) -> Iterator[None]:
    """What is read and written within is read and written by this user. With ``make`` a state folder that is not there
    is made for them first, and one that is root's is refused. Raises OwnerError."""
    if owner is None:
        yield
        return
    if make:
        _make(owner, folder)
    groups = os.getgroups()
    os.setgroups(os.getgrouplist(owner.name, owner.gid))
    os.setegid(owner.gid)
    os.seteuid(owner.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def _make(owner: Owner, folder: Path) -> None:
    try:
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
            os.chown(folder, owner.uid, owner.gid)
    except OSError as error:
        raise OwnerError(f"{folder}: cannot be made ({error.strerror}); set [agent] state_dir") from None
    if folder.stat().st_uid == 0:
        raise OwnerError(f"{folder}: {belongs_to_root(owner.name, folder)}")


def belongs_to_root(name: str, place: Path) -> str:
    """The rule and the fix."""
    return f"belongs to root, and the service runs as {name}; run `chown -R {name}: {place}`"


def foreign_files(folder: Path) -> list[Path]:
    """What lies in the folder and is another user's than this command's."""
    try:
        return sorted(path for path in folder.iterdir() if path.lstat().st_uid != os.geteuid())
    except OSError:
        return []
