"""When a certificate is valid, held against what `cryptography` reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent import validity


def certificate(start: datetime, end: datetime) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a name of some length " * 2)])
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), start, end)
    return built.sign(key, hashes.SHA256())


@pytest.mark.parametrize(
    "years", [(1999, 2049), (2049, 2050), (2051, 9999)], ids=["of two digits", "of both", "of four digits"]
)
def test_its_times_are_read_as_others_read_them(years: tuple[int, int], tmp_path: Path) -> None:
    start, end = (datetime(year, 7, 3, 4, 5, 6, tzinfo=UTC) for year in years)
    made = certificate(start, end)
    found = validity.of_der(made.public_bytes(serialization.Encoding.DER))
    assert found == validity.Validity(int(start.timestamp() * 1000), int(end.timestamp() * 1000))
    path = tmp_path / "chain.crt"
    other = certificate(start - timedelta(days=9), end)
    path.write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (made, other)))
    assert validity.of_file(path) == found
    assert found.covers(found.start_ms)
    assert found.covers(found.end_ms)
    assert not found.covers(found.start_ms - 1)
    assert not found.covers(found.end_ms + 1)


def test_what_is_no_certificate_is_refused_whatever_it_is() -> None:
    year = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    made = certificate(*year).public_bytes(serialization.Encoding.DER)
    for place in range(200):  # up to its key everything is a length, a tag or a time
        for bad in (made[:place], made[:place] + b"\xff" + made[place + 1 :]):
            try:
                validity.of_der(bad)
            except ValueError:
                continue
    with pytest.raises(ValueError, match="no certificate"):
        validity.of_der(b"")
    with pytest.raises(ValueError, match="no certificate"):
        validity.of_der(b"\x30\x82\xff\xff" + b"\x30" * 60)


def test_a_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tls.crt"
    path.write_bytes(validity.BEGIN + b"\nMIIB")
    with pytest.raises(ValueError, match="holds no certificate in PEM"):
        validity.of_file(path)
