"""Which centers an account, a key or a contact is about: by owner, district and province. No I/O."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Located(Protocol):
    """What a scope looks at: the columns of the register, as they are written there."""

    @property
    def owner(self) -> str: ...
    @property
    def district(self) -> str: ...
    @property
    def province(self) -> str: ...


class Scope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Centers whose owner, district and province are each among those named; a part that names none excludes none."""

    owner: frozenset[str] = frozenset()
    district: frozenset[str] = frozenset()
    province: frozenset[str] = frozenset()

    @property
    def is_all(self) -> bool:
        return not (self.owner or self.district or self.province)

    @property
    def parts(self) -> dict[str, list[str]]:
        """The named values of each column, sorted; columns without any are left out."""
        return {name: sorted(values) for name in PARTS if (values := getattr(self, name))}

    def includes(self, center: Located) -> bool:
        return all(getattr(center, name) in values for name, values in self.parts.items())

    def covers(self, other: Scope) -> bool:
        """Whether every center of the other is one of these, as far as their texts say."""
        return all(other_values and other_values <= values for values, other_values in self._beside(other))

    def _beside(self, other: Scope) -> list[tuple[frozenset[str], frozenset[str]]]:
        return [(values, getattr(other, name)) for name in PARTS if (values := getattr(self, name))]

    def encode(self) -> str:
        """The same text for equal scopes."""
        return msgspec.json.encode(self.parts, order="deterministic").decode()


PARTS = Scope.__struct_fields__
EVERYWHERE = Scope()


def decode(text: str) -> Scope:
    """Raises ValueError (msgspec.DecodeError): what cannot be read is never taken for everything."""
    return msgspec.json.decode(text, type=Scope)
