"""An OpenID Connect provider over HTTP: the code flow with PKCE as the specifications have it, and wrong on request."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

CLIENT, SECRET = "nabz", "a secret: of the client"


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@cache
def key_of(_name: str) -> rsa.RSAPrivateKey:
    """One for each name, drawn once: that takes its time."""
    return rsa.generate_private_key(65537, 2048)


@dataclass
class Provider:
    """`claims` go over those of its ID tokens; `broken` answers 500 to all."""

    now_s: int
    url: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    broken: bool = False
    requests: list[str] = field(default_factory=list)
    key: rsa.RSAPrivateKey = field(default_factory=lambda: key_of("one"))
    key_id: str = "one"
    algorithm: str = "RS256"
    metadata: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def turn_key(self, name: str) -> None:
        self.key, self.key_id = key_of(name), name

    def discovery(self) -> dict[str, Any]:
        places = {"authorization_endpoint": "auth", "token_endpoint": "token", "jwks_uri": "keys"}
        return {"issuer": self.url, **{name: f"{self.url}/{part}" for name, part in places.items()}, **self.metadata}

    def keys(self) -> dict[str, Any]:
        public = self.key.public_key().public_numbers()
        key = {"kty": "RSA", "kid": self.key_id, "use": "sig", "alg": "RS256"}
        return {"keys": [{**key, "n": number(public.n), "e": number(public.e)}]}

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser is sent back to: whoever comes is let in."""
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert query["client_id"] == CLIENT
        code = secrets.token_urlsafe(8)
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state'], 'iss': self.url})}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        begun = self.codes.pop(form.get("code", ""), None)  # once
        basic = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        if basic != f"{CLIENT}:{'a%20secret%3A%20of%20the%20client'}" or begun is None:
            return 400, {"error": "invalid_grant"}
        digest = b64(hashlib.sha256(form["code_verifier"].encode()).digest())
        if digest != begun["code_challenge"] or form["redirect_uri"] != begun["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": self.id_token(begun["nonce"])}

    def id_token(self, nonce: str) -> str:
        claims = {
            "iss": self.url, "aud": CLIENT, "sub": "u-1", "nonce": nonce, "iat": self.now_s, "exp": self.now_s + 300,
            "email": "Amna@Example.pk", "email_verified": True, **self.claims,
        }  # fmt: skip
        known = {name: value for name, value in claims.items() if value is not None}
        signed = ".".join(
            b64(json.dumps(part).encode()) for part in ({"alg": self.algorithm, "kid": self.key_id}, known)
        )
        if self.algorithm == "none":
            return f"{signed}."
        return f"{signed}.{b64(self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@contextmanager
def provider(now_s: int) -> Iterator[Provider]:
    room = Provider(now_s)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            match parts.path:
                case "/.well-known/openid-configuration":
                    self.reply(200, room.discovery())
                case "/keys":
                    self.reply(200, room.keys())
                case "/userinfo" if self.headers.get("authorization") == "Bearer x":
                    self.reply(200, room.userinfo)
                case "/auth":
                    self.reply(303, {}, room.authorize(query))
                case _:
                    self.reply(404, {})

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
            given = {name: values[0] for name, values in form.items()}
            self.reply(*room.token(given, self.headers.get("authorization", "")))

        def reply(self, status: int, facts: dict[str, Any], place: str = "") -> None:
            room.requests.append(urlsplit(self.path).path)
            body = json.dumps(facts).encode()
            self.send_response(500 if room.broken else status)
            if place:
                self.send_header("location", place)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    room.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield room
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
