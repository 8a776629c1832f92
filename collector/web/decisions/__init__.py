"""Pages on which people decide about what months rest on, one module each."""

__all__ = [
    "disputes",
    "drafts",
    "proof",
    "register",
    "standards",
    "stories",
    "visits",
]
