"""How many records of TLS a client has sent that brought nothing: updates of keys above all, which TLS 1.3 allows
without end (RFC 8446, section 4.6.3). Each costs a server a tenth of a millisecond, a client a tenth of that and 27
bytes, and OpenSSL works off all that have come before it gives the thread back: 2.7 MB held a server for 11 s. Pure.

Records are counted from their heads (section 5.1) before TLS reads them, and what comes out of it pays for them.
"""

from __future__ import annotations

HANDSHAKE = 22  # the first byte of TLS; of no request of HTTP
HEAD_BYTES = 5
SPARE = 64  # records that nothing has paid for, of a client of whom no more is known
PAYS_BYTES = 64  # of contents, for one record


class RecordCount:
    """Of one connection, of what its client sends. Without TLS it counts nothing. Once it `is_spent`, it stays so."""

    def __init__(self, spare: float = SPARE) -> None:
        self.spare = spare  # math.inf bounds nothing
        self.is_spent = False
        self._is_tls: bool | None = None
        self._head = bytearray()  # of a record, as far as it has come
        self._left = 0  # bytes of the current record that are still to come
        self._unpaid = 0.0

    def is_over(self, data: memoryview) -> bool:
        """Takes the next bytes as they came; whether more records began in them, and before, than are paid for."""
        if self._is_tls is None and data:
            self._is_tls = data[0] == HANDSHAKE
        at = 0
        while self._is_tls and at < len(data) and self._unpaid <= self.spare:
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
            else:
                step = min(HEAD_BYTES - len(self._head), len(data) - at)
                self._begin(data[at : at + step])
            at += step
        self.is_spent = self.is_spent or self._unpaid > self.spare
        return self.is_spent

    def _begin(self, part: memoryview) -> None:
        self._head += part
        if len(self._head) == HEAD_BYTES:
            self._left = int.from_bytes(self._head[3:], "big")
            self._head.clear()
            self._unpaid += 1

    def pay(self, count: int) -> None:
        """So many bytes of contents came out."""
        self._unpaid = max(0.0, self._unpaid - count / PAYS_BYTES)
