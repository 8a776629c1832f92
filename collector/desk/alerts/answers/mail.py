"""An e-mail that answers a message: whose answer it is, and what was written. Pure.

The secret of the message's link says whose: it stands in the address that was answered to (`desk+SECRET@HOST`), or in
what was quoted. Who wrote it, by its own From, counts for nothing. Answers of machines are none: an automatic reply
quotes the secret as people do (RFC 3834).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

from collector.desk.alerts import links

ADDRESSED = ("to", "cc", "delivered-to", "x-original-to", "envelope-to")
MAX_FIELD = 4_000  # letters of a field of the head that are looked at
MAX_QUOTE = 400  # letters of a line that are looked at
REPORTS = frozenset({"multipart/report", "message/delivery-status"})  # of mail systems
BULK = frozenset({"bulk", "junk", "list", "auto_reply"})
_SECRET = re.compile(rf"\+({links.SECRET.pattern})@")
_QUOTED = re.compile(
    r"(>|On .{1,200} wrote:$|-{2,} ?Original Message|_{8,}|-- ?$|From: |\S.{0,200}<[^<>@\s]+@\S+>.*:$)"
)
_TAG, _CUT = re.compile(r"<[^<>]{0,2000}>"), re.compile(r"<blockquote|<div class=\"gmail_quote", re.IGNORECASE)


class _Field(str):
    """A field of a head as it was sent. The standard library's own takes it apart by grammar, in quadratic time."""

    @property
    def content_disposition(self) -> str:
        """What `EmailMessage.get_body` wants of it (RFC 2183)."""
        return self.partition(";")[0].strip().lower()


POLICY = policy.default.clone(header_factory=lambda _name, value: _Field(value[:MAX_FIELD]))


@dataclass(frozen=True)
class MailReply:
    """`text` is what was written, without what was quoted."""

    secret: str
    text: str


def reply_address(address: str, secret: str) -> str:
    """The address that an answer to a message goes to."""
    name, _, host = address.partition("@")
    return f"{name}+{secret}@{host}"


def reply_of(raw: bytes) -> MailReply | None:
    """None for what is no answer of a person to a message of ours."""
    try:
        mail = BytesParser(policy=POLICY).parsebytes(raw)
        assert isinstance(mail, EmailMessage)
        if _is_automatic(mail):
            return None
        body = _body(mail)
        addresses = " ".join(str(value) for name in ADDRESSED for value in mail.get_all(name, ()))
    except Exception:  # the parser of the standard library fails in many ways on what is hostile
        return None
    match = _SECRET.search(addresses)
    secret = match[1] if match else links.secret_in(body)
    return MailReply(secret, written(body)) if secret else None


def written(body: str) -> str:
    """The lines before those that are quoted."""
    lines = []
    for line in body.splitlines():
        if _QUOTED.match(line.strip()[:MAX_QUOTE]):
            break
        lines.append(line.strip())
    return "\n".join(lines).strip()


def _is_automatic(mail: EmailMessage) -> bool:
    automatic = str(mail.get("auto-submitted", "no")).strip().casefold()
    precedence = str(mail.get("precedence", "")).strip().casefold()
    is_report = mail.get_content_type() in REPORTS
    return automatic != "no" or precedence in BULK or "x-autoreply" in mail or is_report


def _body(mail: EmailMessage) -> str:
    part = mail.get_body(("plain", "html"))
    if part is None:
        return ""
    text = str(part.get_content())
    if part.get_content_type() == "text/html":
        cut = _CUT.search(text)
        quoted = links.secret_in(text)
        head = _TAG.sub(" ", text[: cut.start()] if cut else text)
        return f"{head}\n> {links.PATH}{quoted}" if quoted else head
    return text
