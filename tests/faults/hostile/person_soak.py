"""A worker: guesses at persons' passphrases, approves with its own token, and counts what got through, as JSON.

python -m tests.faults.hostile.person_soak FOLDER SEED TIMES PAIRS
"""

from __future__ import annotations

import hashlib
import json
import random
import statistics
import sys
import time
from pathlib import Path

from collector.access import approvals, passwords, users
from collector.access.enrolment import issue_token
from collector.access.passwords import Cost
from collector.access.users import PersonError
from collector.register import centers
from collector.store import Store

NOW = 1_795_000_000_000
ROW = {"center": "LHR-1", "name": "One", "tier": "one", "seats_promised": "20", "opening": "always"}
ALI, BINA = "ali likes long walks", "bina sails to Gwadar"
QUICK = Cost(64, 1, 1)
KEY_HASH = hashlib.sha256(b"k" * 32).hexdigest()
DEVICE = "g" + KEY_HASH[:16]
SPELLINGS = ("Ali", "ALI", " ali  ", "\uff21li", "aL\uff29")


def suffered(folder: Path, seed: int, times: int, pairs: int) -> dict[str, float]:
    folder.mkdir(parents=True)
    store = Store.open(f"sqlite:///{folder}/nabz.db")
    with store.write() as conn:
        centers.add(conn, ROW, NOW)
        users.add(conn, "Ali", passwords.hash_password(ALI, QUICK), users.MAY, "root", NOW)
        users.add(conn, "Bina", passwords.hash_password(BINA, QUICK), users.MAY, "root", NOW)
        users.add(conn, "Usual", passwords.hash_password(ALI), users.MAY, "root", NOW)
    dice = random.Random(seed)
    figures = {
        "approved by the maker": approved_by_the_maker(store),
        "approved without a proof": approved_without_a_proof(store, dice, times),
        "wrong passphrases taken": wrong_taken(store, dice, times),
        **looked_at(store, dice, times),
        **timed(store, dice, pairs),
    }
    store.close()
    return figures


def waits(store: Store) -> None:
    given = users.prove(store, "Ali", ALI, NOW, counted=False).proof
    with store.write() as conn:
        secret = issue_token(conn, "LHR-1", NOW, 3600, "Ali", proof=given)
        approvals.request_approval(conn, hashlib.sha256(secret.encode()).hexdigest(), DEVICE, KEY_HASH, "box", NOW)


def approves(store: Store, by: str, proof: str) -> bool:
    try:
        with store.write() as conn:
            approvals.decide(conn, DEVICE, "approved", by, NOW, proof=proof)
    except PersonError:
        return False
    return True


def approved_by_the_maker(store: Store) -> int:
    taken = 0
    for name in SPELLINGS:
        waits(store)
        taken += approves(store, name, users.prove(store, name, ALI, NOW, counted=False).proof)
    return taken


def approved_without_a_proof(store: Store, dice: random.Random, times: int) -> int:
    """Names with no proof, another's, and made-up ones."""
    others = users.prove(store, "Ali", ALI, NOW, counted=False).proof
    proofs = ("", others, passwords.hash_password(BINA, QUICK))
    taken = 0
    for _ in range(times):
        waits(store)
        taken += approves(store, dice.choice(("Bina", "bina", "Zed", "Usual")), dice.choice(proofs))
    return taken


def wrong_taken(store: Store, dice: random.Random, times: int) -> int:
    """One letter changed, left out or doubled; cut short; another's; made at random."""
    taken = 0
    for _ in range(times):
        place = dice.randrange(len(BINA))
        near = BINA[:place] + dice.choice(("", BINA[place] * 2, "\u0628")) + BINA[place + 1 :]
        guess = dice.choice((near, BINA[:place], BINA.upper(), ALI, passwords.make(), ""))
        taken += looks(store, "Bina", guess, counted=False) == "taken"
    return taken


def looks(store: Store, name: str, guess: str, *, counted: bool) -> str:
    try:
        users.prove(store, name, guess, NOW, counted=counted)
    except PersonError as error:
        return error.reason
    return "taken"


def looked_at(store: Store, dice: random.Random, times: int) -> dict[str, int]:
    """How many of `times` guesses within one hour were compared; whether the person can still decide by the command."""
    found = [looks(store, dice.choice(("Bina", "bina", " BINA")), passwords.make(), counted=True) for _ in range(times)]
    shut_out = looks(store, "Bina", BINA, counted=False) != "taken"
    return {"guesses": times, "guesses looked at": found.count("wrong"), "shut out of the command": int(shut_out)}


def timed(store: Store, dice: random.Random, pairs: int) -> dict[str, float]:
    """Processor time of a known and of an unknown name, in turn, who is first by chance; a busy machine's clock says
    nothing."""

    def spent_ms(name: str) -> float:
        begun = time.process_time()
        looks(store, name, "wrong all the same", counted=False)
        return 1000 * (time.process_time() - begun)

    known: list[float] = []
    unknown: list[float] = []
    for number in range(pairs):
        for name, into in sorted((("Usual", known), (f"Nobody {number}", unknown)), key=lambda _: dice.random()):
            into.append(spent_ms(name))
    if not pairs:
        return {}
    return {
        "pairs": pairs,
        "known_ms": round(statistics.median(known), 2),
        "unknown_ms": round(statistics.median(unknown), 2),
        "known slower": sum(one > other for one, other in zip(known, unknown, strict=True)),
    }


if __name__ == "__main__":
    words = sys.argv[1:]
    print(json.dumps(suffered(Path(words[0]), *map(int, words[1:]))))
