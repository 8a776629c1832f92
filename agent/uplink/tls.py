"""TLS 1.3 to the broker: our certificate, and one authority that is believed, the one this gateway enrolled with.

The web's authorities count for nothing here, so whoever stands in between (a captive portal, an ISP's proxy) is refused
in the handshake, before a byte of ours is sent.
"""

from __future__ import annotations

import ssl

from agent.identity import ENROL_AGAIN, IdentityError, TlsFiles
from agent.uplink.trust import TrustedClock
from agent.uplink.trust import context as trusting


def client_context(files: TlsFiles | None, clock: TrustedClock) -> ssl.SSLContext:
    """Made anew for each session, so that a renewed certificate is used at once. Raises IdentityError."""
    if files is None:
        raise IdentityError("this gateway has no certificate", ENROL_AGAIN)
    try:
        return trusting(files.ca, clock, files)
    except OSError as error:
        where = f"{files.ca}, {files.cert}, {files.key}"
        raise IdentityError(f"{where}: are no CA, certificate and key ({error})", ENROL_AGAIN) from None
