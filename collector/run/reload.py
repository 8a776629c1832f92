"""SIGHUP: the settings read again, and what can change without a restart taken from them.

A file with a mistake changes nothing: the settings before it stay, and the log says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.common.errors import describe
from agent.common.logs import Event
from collector.access.tls import TlsError
from collector.common.config import ConfigError, Settings

RELOADED = Event(
    __name__, "info", "settings_reloaded", "the settings were read again; of what `restart` names the values of the "
    "start hold until a restart", fields="changed restart",
)  # fmt: skip
REFUSED = Event(
    __name__, "error", "settings_refused", "the settings cannot be used; those before them hold", fields="error"
)
CERTIFICATE_REFUSED = Event(
    __name__, "error", "certificate_refused", "a certificate cannot be used; the one before it is shown", fields="error"
)

LIVE = ("[alerts] channels",)


def changed_keys(before: Settings, after: Settings) -> list[str]:
    """The keys whose values differ, written as in the settings file: ``[web] listen``."""
    old, new = before.model_dump(), after.model_dump()
    pairs = ((section, key) for section, values in new.items() for key in values)
    return [f"[{section}] {key}" for section, key in pairs if old[section][key] != new[section][key]]


class Reload:
    """`read` reads the settings as at the start; `apply` takes what is LIVE of them or raises ConfigError;
    `certificates` show what their files hold now, or raise OSError, ValueError or TlsError."""

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings],
        apply: Callable[[Settings], None],
        certificates: Sequence[Callable[[], object]],
    ) -> None:
        self._started_with = self._last = settings
        self._read, self._apply, self._certificates = read, apply, certificates

    def __call__(self) -> None:
        self._reload_certificates()
        try:
            settings = self._read()
            self._apply(settings)
        except ConfigError as error:
            REFUSED.log(error=error)
            return
        changed, self._last = changed_keys(self._last, settings), settings
        restart = [key for key in changed_keys(self._started_with, settings) if key not in LIVE]
        RELOADED.log(changed=", ".join(changed) or "nothing", restart=", ".join(restart))

    def _reload_certificates(self) -> None:
        for show in self._certificates:
            try:
                show()
            except (OSError, ValueError, TlsError) as error:
                CERTIFICATE_REFUSED.log(error=describe(error))
