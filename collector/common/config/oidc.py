"""The settings of log-in by somebody else's word: one OpenID Connect issuer."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from collector.common.config.endpoint import HttpUrl
from collector.common.config.table import CollectorSection, read_secret

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class OidcSection(CollectorSection):
    """Needs the extra `oidc`. Persons are made by an admin as ever; `nabz-collector person oidc` says who is who."""

    issuer: HttpUrl = Field(
        default="",
        description="Address of the issuer, exactly as it names itself (OpenID Connect Discovery); https, on this "
        "machine http too. Empty: people log in by password alone.",
    )
    client_id: str = Field(default="", max_length=200, description="What the issuer calls this collector.")
    client_secret_file: Path | None = Field(
        default=None, description="File with the client's secret; without one it is a public client, with PKCE alone."
    )
    name: str = Field(
        default="", max_length=60, description="What the button of the log-in says, such as `PSEB`; empty: the host."
    )

    @model_validator(mode="after")
    def _whole(self) -> OidcSection:
        """Raises ValueError."""
        if not self.issuer:
            return self
        parts = urlsplit(self.issuer)
        if not self.client_id:
            raise ValueError("client_id is needed with an issuer; register this collector there and give it")
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            raise ValueError("issuer must be https; by http anybody on the way could log in")
        return self

    @property
    def label(self) -> str:
        return self.name or urlsplit(self.issuer).hostname or ""

    def client_secret(self) -> str:
        """Empty without a file. Raises ConfigError."""
        return read_secret(self.client_secret_file, "[oidc] client_secret_file") if self.client_secret_file else ""
