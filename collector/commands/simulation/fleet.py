"""The simulated centers: who they are and what they are made of. Pure: the same number and seed give the same fleet."""

from __future__ import annotations

import random
from dataclasses import dataclass

from collector.commands.simulation.places import CARRIERS, PLACES, City

CODE_PREFIX = "SIM-"
FEEDER_CENTERS = 8  # centers on one feeder, about
EXCHANGES = 2  # of a carrier in a city
SEATS = {"one": (30, 40, 50), "two": (20, 30), "three": (12, 20)}
PLANS_MBPS = {"one": (60.0, 100.0, 150.0), "two": (40.0, 50.0, 100.0), "three": (25.0, 30.0, 50.0)}
BASE_RTT_MS = {"one": 9.0, "two": 18.0, "three": 32.0}
AUTONOMY_S = (150.0, 1200.0, 2700.0, 3600.0)  # the first is a tired battery: even a short cut empties it
OPENINGS = ("Mon-Sat 09:00-21:00", "Mon-Sat 10:00-22:00", "always")


@dataclass(frozen=True, kw_only=True)
class SimulatedCenter:
    """One simulated center. `autonomy_s`: how long its UPS carries it; `phase`: its share of the minute, 0 to 1."""

    index: int
    code: str
    name: str
    place: City
    latitude: float
    longitude: float
    isp: str
    feeder: str
    exchange: str
    seats: int
    opening: str
    plan_mbps: float
    rtt_ms: float
    autonomy_s: float
    phase: float

    def row(self) -> dict[str, str]:
        """The center as one row of the register's import file."""
        return {
            "center": self.code,
            "name": self.name,
            "owner": "simulated",
            "building": "simulated",
            "city": self.place.city,
            "district": self.place.district,
            "province": self.place.province,
            "tier": self.place.tier,
            "seats_promised": str(self.seats),
            "isp": self.isp,
            "feeder": self.feeder,
            "exchange": self.exchange,
            "opening": self.opening,
            "latitude": f"{self.latitude:.4f}",
            "longitude": f"{self.longitude:.4f}",
            "lifecycle": "declared",
        }


def make_fleet(count: int, seed: int) -> list[SimulatedCenter]:
    """`count` centers. A larger fleet of the same seed begins with the smaller one, so a fleet can grow."""
    places = [place for place in PLACES for _ in range(place.weight)]
    standing: dict[str, int] = {}
    fleet = []
    for index in range(count):
        dice = random.Random(f"nabz:{seed}:{index}")
        place = dice.choice(places)
        standing[place.short] = standing.get(place.short, 0) + 1
        fleet.append(_center(index, place, standing[place.short], dice))
    return fleet


def _center(index: int, place: City, number: int, dice: random.Random) -> SimulatedCenter:
    isp, added_ms = dice.choice(CARRIERS)
    return SimulatedCenter(
        index=index,
        code=f"{CODE_PREFIX}{place.short}-{number:04d}",
        name=f"Simulated center {number}, {place.city}",
        place=place,
        latitude=place.latitude + dice.gauss(0, 0.04),
        longitude=place.longitude + dice.gauss(0, 0.05),
        isp=isp,
        feeder=f"{CODE_PREFIX}{place.short}-F{(number - 1) // FEEDER_CENTERS + 1:02d}",
        exchange=f"{isp} {place.short}-{index % EXCHANGES + 1}",
        seats=dice.choice(SEATS[place.tier]),
        opening=dice.choices(OPENINGS, weights=(5, 3, 2))[0],
        plan_mbps=dice.choice(PLANS_MBPS[place.tier]),
        rtt_ms=BASE_RTT_MS[place.tier] + added_ms + dice.uniform(0, 6),
        autonomy_s=dice.choices(AUTONOMY_S, weights=(1, 1, 4, 4))[0],
        phase=dice.random(),
    )
