"""What every other part of the schema is made with."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

Ms = sa.BigInteger  # milliseconds since 1970 UTC
Code = sa.String(32)  # of a center
Device = sa.String(64)  # of a gateway
