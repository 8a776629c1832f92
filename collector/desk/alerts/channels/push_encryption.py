"""What goes to a push service: a body that the device alone can read (RFC 8291, with the coding aes128gcm of RFC 8188),
and who sends it (VAPID, RFC 8292). The libraries for it are under other licences than ours or have no wheels; the
cryptography is the library's, the order of its parts the RFCs'. Pure; what is random or the time is an argument."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.common import base64url

RECORD_BYTES = 4096  # the longest record that every push service takes (RFC 8291 §4)
LASTS_S = 12 * 3600  # of a VAPID token; at most a day (RFC 8292 §2)
LAST_RECORD = b"\x02"  # the delimiter before its padding (RFC 8188 §2)
CURVE_BYTES = 32


def encrypted(
    plain: bytes, device_key: bytes, auth: bytes, *, own: ec.EllipticCurvePrivateKey, salt: bytes
) -> bytes:  # fmt: skip
    """The body of a request. `device_key` is the device's public point, `auth` its secret; `own` and `salt` (16 bytes)
    are drawn for this message alone. Raises ValueError for what is no point of P-256."""
    device = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), device_key)
    public = public_point(own)
    shared = own.exchange(ec.ECDH(), device)
    secret = _derived(shared, auth, b"WebPush: info\0" + device_key + public, 32)
    key = _derived(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(secret, salt, b"Content-Encoding: nonce\0", 12)
    head = salt + RECORD_BYTES.to_bytes(4, "big") + bytes([len(public)]) + public
    return head + AESGCM(key).encrypt(nonce, plain + LAST_RECORD, None)


def _derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def public_point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def authorization(endpoint: str, contact: str, key: ec.EllipticCurvePrivateKey, now_s: int) -> str:
    """The header of a request to this endpoint. `contact` is how a push service reaches us: mailto: or https:."""
    parts = urlsplit(endpoint)
    claims = {"aud": f"{parts.scheme}://{parts.netloc}", "exp": now_s + LASTS_S, "sub": contact}
    signed = ".".join(base64url.encode(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ES256"}, claims))
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(CURVE_BYTES, "big") + s.to_bytes(CURVE_BYTES, "big")
    return f"vapid t={signed}.{base64url.encode(signature)}, k={base64url.encode(public_point(key))}"
