"""`nabz-verify`: a center's month checked offline from a bundle (docs/bundle.md). Needs the standard library and
`cryptography` alone, and shares no code with what made the bundle but the log's tree, signed notes and the words of
errors."""

__all__: list[str] = []
