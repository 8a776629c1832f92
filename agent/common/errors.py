"""What an exception says, in words: for people, for pages and for the log. Only the standard library is needed."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

LIMIT = 300  # characters of a description
DEPTH = 4  # links of a chain of causes
GROUP = 3  # members of an exception group
SAYS_ITSELF = (OSError, RuntimeError, ValueError)  # of the built-in classes those whose text is a sentence


def describe(error: object) -> str:
    """One printable line, never empty: what happened, then the causes, as in ``lost: connection reset by peer``.

    Also for what is no exception but says why, such as paho's reason codes. An exception without a text is named by its
    class, the operating system's by errno. No file is named: the sentence around it does that.
    """
    texts: list[str] = []
    for link in _causes(error):
        text = _text(link)
        if not any(text in earlier for earlier in texts):
            texts.append(text)
    return one_line(": ".join(texts))


def code_of(error: BaseException) -> str:
    """What a filter can hold on to: the name of the errno, such as ECONNREFUSED, or SQLite's or OpenSSL's name for the
    fault, such as SQLITE_IOERR or CERTIFICATE_VERIFY_FAILED; else the name of the class."""
    reason = getattr(error, "reason", None)
    if (origin := _of_database(error)) is not error and isinstance(origin, BaseException):
        return code_of(origin)
    if _is_tls(error):
        return str(reason or type(error).__name__)
    if isinstance(error, OSError) and isinstance(reason, BaseException):
        return code_of(reason)
    sqlite = getattr(error, "sqlite_errorname", None)
    return str(sqlite or errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__))


def _of_database(error: object) -> object:
    orig = getattr(error, "orig", None)
    return orig if isinstance(orig, BaseException) else error


def one_line(text: str, limit: int = LIMIT) -> str:
    """The first line that holds something, of at most `limit` characters, all of them printable."""
    lines = (line.strip() for line in text[: 10 * limit].splitlines())
    return printable(next((line for line in lines if line), ""), limit)


def printable(text: str, limit: int = LIMIT) -> str:
    """Control characters, line ends and what turns the direction of writing stand as escapes; long text is cut."""
    shown = text[:limit]
    if not shown.isprintable():
        shown = "".join(char if char.isprintable() else _escaped(char) for char in shown)
    return shown if len(shown) <= limit and len(text) <= limit else shown[: limit - 1] + "…"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def _causes(error: object) -> Iterator[object]:
    """The error and what it was explicitly raised from; not the cancellation that asyncio's timeouts come from, and of
    SQLAlchemy's errors what the database said, without the statement (PEP 249's error is their `orig`)."""
    seen: list[object] = []
    error = _of_database(error)
    while error is not None and len(seen) < DEPTH and not any(error is earlier for earlier in seen):
        if not seen or type(error).__name__ != "CancelledError":
            yield error
        seen.append(error)
        error = getattr(error, "__cause__", None)


def _text(error: object) -> str:
    if isinstance(error, BaseExceptionGroup):
        return _members(error)
    text = one_line(_os_text(error) if isinstance(error, OSError) else _str(error))
    words = _class_words(error)
    return f"{words}: {text}" if text and _is_terse(error) else text or words


def _members(group: BaseExceptionGroup[BaseException]) -> str:
    texts = list(dict.fromkeys(describe(member) for member in group.exceptions))
    more = len(texts) - GROUP
    return "; ".join([*texts[:GROUP], f"{more} more"] if more > 0 else texts)


def _is_terse(error: object) -> bool:
    """Whether the text means little without the class: ``'width'`` of a KeyError."""
    is_built_in = isinstance(error, Exception) and type(error).__module__ == "builtins"
    return is_built_in and type(error) is not Exception and not isinstance(error, SAYS_ITSELF)


def _os_text(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    if _is_tls(error):
        detail = getattr(error, "verify_message", None) or (reason or "").replace("_", " ").lower()
        return f"TLS: {detail}" if detail else _str(error)
    if isinstance(reason, BaseException):  # urllib's URLError
        return describe(reason)
    if not error.errno:
        return reason if isinstance(reason, str) and not hasattr(error, "code") else _str(error)
    return error.strerror or errno.errorcode.get(error.errno, f"errno {error.errno}")


def _is_tls(error: BaseException) -> bool:
    return type(error).__module__ == "ssl"  # by name: who never speaks TLS need not load it


def _str(error: object) -> str:
    try:
        text = str(error)
    except Exception:  # a library's exception may fail to say itself
        return ""
    return "" if text == "()" else text  # of ssl.SSLError without arguments


def _class_words(error: object) -> str:
    """``ConnectionResetError`` as ``connection reset``, ``KeyError`` as ``key error``."""
    if isinstance(error, TimeoutError):
        return "timed out"
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+", type(error).__name__)
    if isinstance(error, OSError) and len(words) > 2 and words[-1] == "Error":
        words.pop()
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words) or "error"
