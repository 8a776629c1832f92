"""The settings of months' reports."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from collector.common.config.table import CollectorSection


class ReportsSection(CollectorSection):
    certificate: Path | None = Field(
        default=None,
        description="The certificate by which reports in PDF are signed, PEM, with what leads to its root; empty: one "
        "of the collector's own authority. Needs the extra `reports`.",
    )
    key: Path | None = Field(default=None, description="The private key of that certificate, PEM without a password.")

    time_stamp_url: str = Field(
        default="",
        pattern=r"^(|https?://[^\s@]{1,400})$",
        description="An authority (RFC 3161) that stamps the time on each signature (PAdES B-T), http or https; empty: "
        "none, and the time is the signer's word. A PDF is not signed while it does not answer.",
    )

    @model_validator(mode="after")
    def _both(self) -> ReportsSection:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key must both be given, or neither")
        return self
