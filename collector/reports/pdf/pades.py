"""A PDF's signature: PAdES (ETSI EN 319 142-1) by pyHanko, with a key of the collector's own authority or one that the
settings name. It says who made the file and that nothing was changed since. When is the signer's word (baseline B-B),
or that of an authority that the settings name (B-T)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from agent.common import logs
from agent.common.errors import describe
from collector.access.ca import Authority, Issuer
from collector.common.config import ReportsSection
from collector.reports.pdf import time_stamps
from collector.reports.pdf.document import PdfError, need

if TYPE_CHECKING:
    from pyhanko.sign.validation.status import PdfSignatureStatus

FIELD = "NabzReport"
OWN = "reports"  # the files `ca/reports.crt` and `ca/reports.key`
LEFT_MS = 90 * 86_400_000  # our own certificate is made anew when it holds for less


@dataclass(frozen=True)
class SignatureKey:
    """A key and its certificate with what leads to its root, leaf first; all PEM. `time_stamp_url`: who stamps the
    time; empty: nobody."""

    cert_pem: bytes
    key_pem: bytes
    time_stamp_url: str = ""


@dataclass(frozen=True)
class PdfSignature:
    """What the signature of a PDF says. `why` is empty where the file is as it was signed, by somebody trusted.
    `stamped_at` is the word of an authority that is trusted, too; None: it has no time stamp."""

    signer: str
    signed_at: datetime | None
    why: str
    stamped_at: datetime | None = None

    @property
    def is_true(self) -> bool:
        return not self.why


def key_of(section: ReportsSection, authority: Issuer | None, now_ms: int) -> SignatureKey:
    """The key that the settings name, or one of the collector's own. Raises PdfError, StoreError."""
    if section.certificate is not None and section.key is not None:
        return replace(_given(section.certificate, section.key), time_stamp_url=section.time_stamp_url)
    if not isinstance(authority, Authority):
        raise PdfError("signature: the authority is not our own; name a certificate and its key in [reports]")
    return replace(own_key(authority, now_ms), time_stamp_url=section.time_stamp_url)


def own_key(authority: Authority, now_ms: int) -> SignatureKey:
    """Of the collector's own authority, made when there is none that holds. Raises StoreError."""
    files = authority.files(OWN)
    try:
        held = SignatureKey(files.cert.read_bytes(), files.key.read_bytes())
        leaf = x509.load_pem_x509_certificate(held.cert_pem)
    except (OSError, ValueError):
        leaf = None
    if leaf is not None and _holds(leaf, now_ms) and authority.is_of_newest(held.cert_pem.decode()):
        return held
    issued = authority.issue_signer("Nabz reports", now_ms)
    authority.keep(OWN, issued)
    assert issued.key_pem is not None
    return SignatureKey(issued.cert_pem, issued.key_pem)


def _holds(leaf: x509.Certificate, now_ms: int) -> bool:
    return leaf.not_valid_after_utc.timestamp() * 1000 > now_ms + LEFT_MS


def _given(certificate: Path, key: Path) -> SignatureKey:
    try:
        return SignatureKey(certificate.read_bytes(), key.read_bytes())
    except OSError as error:
        raise PdfError(
            f"{error.filename}: cannot be read ({describe(error)}); correct [reports] in the settings"
        ) from None


def reason_of(report: Mapping[str, Any]) -> str:
    """What a signature is for, as readers of PDF show it."""
    number = report["revision"]["number"]
    return f"report of {report['center']['code']}, {report['month']}, " + (
        f"revision {number}" if number else "not closed"
    )


def signed(pdf: bytes, key: SignatureKey, reason: str) -> bytes:
    """The PDF with an invisible signature over all of it. Raises PdfError."""
    need("pyhanko")
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign import fields, signers
    from pyhanko.sign.general import SigningError

    meta = signers.PdfSignatureMetadata(
        field_name=FIELD, md_algorithm="sha256", subfilter=fields.SigSeedSubFilter.PADES, reason=reason
    )
    # PDF/UA-1 §7.18: a field that is not tagged must be hidden
    hidden = fields.InvisSigSettings(set_print_flag=False, set_hidden_flag=True)
    field = fields.SigFieldSpec(FIELD, invis_sig_settings=hidden)
    url = key.time_stamp_url
    stamper = time_stamps.stamper(url) if url else None
    try:
        out = signers.sign_pdf(
            IncrementalPdfFileWriter(io.BytesIO(pdf)),
            meta,
            signer=_signer(key),
            timestamper=stamper,
            new_field_spec=field,
        )
    except (SigningError, ValueError) as error:  # what the authority sent is no stamp, or one of something else
        if not url:
            raise
        raise time_stamps.refused(url, describe(error)) from None
    return bytes(out.getvalue())


def _signer(key: SignatureKey) -> Any:
    from asn1crypto import keys
    from pyhanko.sign import signers
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    try:
        private = serialization.load_pem_private_key(key.key_pem, None)
        leaf, *others = _certificates(key.cert_pem)
    except (ValueError, TypeError) as error:
        raise PdfError(f"signature: the key or its certificate cannot be used ({describe(error)[:120]})") from None
    if leaf.public_key.dump() != _public(private):
        raise PdfError("signature: the certificate is of another key; name the certificate of this one, leaf first")
    plain = serialization.NoEncryption()
    der = private.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, plain)
    kind: Any = SimpleCertificateStore  # has no types
    store = kind()
    store.register_multiple(others)
    return signers.SimpleSigner(signing_cert=leaf, signing_key=keys.PrivateKeyInfo.load(der), cert_registry=store)


def _public(private: Any) -> bytes:
    der, info = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(private.public_key().public_bytes(der, info))


def _certificates(pem: bytes) -> list[Any]:
    """For pyHanko. Raises ValueError."""
    from asn1crypto import x509 as asn1

    certificates = x509.load_pem_x509_certificates(pem)
    return [asn1.Certificate.load(one.public_bytes(serialization.Encoding.DER)) for one in certificates]


def checked(pdf: bytes, roots_pem: bytes) -> PdfSignature:
    """Whether the whole file is as somebody signed it whose certificate leads to one of these roots. Nothing is
    fetched from elsewhere. Raises PdfError for what is no PDF, has no signature, or where pyHanko is missing."""
    need("pyhanko")
    logs.hush({"pyhanko": "critical"})  # what it finds is returned
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.validation import validate_pdf_signature
    from pyhanko_certvalidator import ValidationContext

    try:
        roots = _certificates(roots_pem)
    except ValueError as error:
        raise PdfError(f"roots: hold no certificate ({describe(error)[:120]}); write them as PEM") from None
    try:
        embedded: Sequence[Any] = PdfFileReader(io.BytesIO(pdf)).embedded_signatures
        if len(embedded) != 1:
            raise PdfError(f"PDF: has {len(embedded)} signatures; a report has one")
        status = validate_pdf_signature(embedded[0], ValidationContext(trust_roots=roots, allow_fetching=False))
    except PdfError:
        raise
    except Exception as error:  # a stranger's file: whatever the library stumbles over, it cannot be read
        raise PdfError(f"PDF: cannot be read ({describe(error)[:120]})") from None
    stamp = status.timestamp_validity
    signer, at = status.signing_cert.subject.human_friendly, status.signer_reported_dt
    return PdfSignature(signer, at, _why(status), stamp.timestamp if stamp is not None else None)


def _why(status: PdfSignatureStatus) -> str:
    from pyhanko.sign.validation.status import SignatureCoverageLevel

    if not status.intact or not status.valid:
        return "the file was changed after it was signed"
    if status.coverage != SignatureCoverageLevel.ENTIRE_FILE:
        return "something was added to the file after it was signed"
    stamp = status.timestamp_validity
    if stamp is not None and not (stamp.intact and stamp.valid and stamp.trusted):
        return "its time stamp is no word of an authority that these roots trust; add that one's to the roots"
    return "" if status.bottom_line else "who signed it is not trusted by these roots"
