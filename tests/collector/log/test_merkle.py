"""The tree and its tiles: published roots and proofs, and every proof of every small tree."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.log import merkle, tiles
from collector.log.tiles import TileError, TilePath

# RFC 6962's own test leaves, as certificate-transparency publishes them, with the roots of the first 0 … 8 of them.
LEAVES = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
HASHES = [merkle.leaf_hash(leaf) for leaf in LEAVES]


def roots(count: int) -> list[bytes]:
    """As RFC 6962 §2.1 defines them, word by word."""

    def over(some: list[bytes]) -> bytes:
        if len(some) == 1:
            return some[0]
        k = 1
        while 2 * k < len(some):
            k *= 2
        return hashlib.sha256(b"\x01" + over(some[:k]) + over(some[k:])).digest()

    return [merkle.EMPTY_ROOT, *(over(many(size)) for size in range(1, count + 1))]


def many(count: int) -> list[bytes]:
    return [merkle.leaf_hash(str(i).encode()) for i in range(count)]


@pytest.mark.parametrize("size", range(9))
def test_the_published_roots_are_ours(size: int) -> None:
    assert merkle.root(size, merkle.of_leaves(HASHES)).hex() == ROOTS[size]


def test_the_published_proofs_are_ours() -> None:
    tree = merkle.of_leaves(HASHES)
    assert [part.hex()[:8] for part in merkle.inclusion_proof(0, 8, tree)] == ["96a296d2", "5f083f0a", "6b47aaf2"]
    assert [part.hex()[:8] for part in merkle.inclusion_proof(5, 8, tree)] == ["bc1a0643", "ca854ea1", "d37ee418"]
    assert [part.hex()[:8] for part in merkle.consistency_proof(6, 8, tree)] == ["0ebc5d34", "ca854ea1", "d37ee418"]
    assert [part.hex()[:8] for part in merkle.consistency_proof(2, 5, tree)] == ["5f083f0a", "bc1a0643"]


def test_every_small_tree_grows_from_what_a_proof_in_it_shows() -> None:
    tree, known, leaves = merkle.of_leaves(many(20)), roots(20), many(20)
    for size in range(1, 21):
        for index in range(size):
            frontier = merkle.Frontier.before(index, size, merkle.inclusion_proof(index, size, tree))
            for number in range(index, 20):
                assert frontier.root() == known[number]
                frontier.add(leaves[number])
            assert (frontier.size, frontier.root()) == (20, known[20])


def test_every_proof_of_every_small_tree_holds_and_no_other_does() -> None:
    tree, known = merkle.of_leaves(many(20)), roots(20)
    for size in range(1, 21):
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, tree)
            leaf = many(20)[index]
            assert merkle.includes(leaf, index, size, proof, known[size])
            assert not merkle.includes(leaf, index + 1, size, proof, known[size])
            assert not merkle.includes(merkle.leaf_hash(b"x"), index, size, proof, known[size])
            assert not merkle.includes(leaf, index, size, [*proof, bytes(32)], known[size])
        for old in range(size + 1):
            proof = merkle.consistency_proof(old, size, tree)
            assert merkle.extends(old, known[old], size, known[size], proof)
            assert not merkle.extends(old, bytes(32), size, known[size], proof)
            assert not old or not merkle.extends(old, known[old], size, bytes(32), proof)
            assert not merkle.extends(old, known[old], size, known[size], [*proof, bytes(32)])
            assert not merkle.extends(size + 1, known[old], size, known[size], proof)
            if proof:
                assert not merkle.extends(old, known[old], size, known[size], proof[:-1])


def test_tiles_give_the_same_hashes() -> None:
    leaves = many(700)
    level0 = [leaves[at : at + 256] for at in range(0, 700, 256)]
    level1 = [merkle.folded(tile) for tile in level0 if len(tile) == 256]
    rows = {(0, i): b"".join(tile) for i, tile in enumerate(level0)} | {(1, 0): b"".join(level1)}
    tree = tiles.hashes_from(lambda level, index: rows[level, index])
    for size in (1, 255, 256, 257, 511, 512, 700):
        assert merkle.root(size, tree) == merkle.root(size, merkle.of_leaves(leaves))
    assert merkle.consistency_proof(300, 700, tree) == merkle.consistency_proof(300, 700, merkle.of_leaves(leaves))
    with pytest.raises(TileError):
        tree(0, 700)


def test_paths_are_those_of_the_specification() -> None:
    assert str(TilePath(0, 1234067)) == "tile/0/x001/x234/067"
    assert str(TilePath(None, 5, 112)) == "tile/entries/005.p/112"
    # Its example: a tree of 70,000.
    found = list(tiles.needed(70_000))
    assert sum(path.level == 0 and path.width == 256 for path in found) == 273
    partial = [path for path in found if path.width < 256]
    assert partial == [TilePath(0, 273, 112), TilePath(1, 1, 17), TilePath(2, 0, 1)]
    assert list(tiles.needed(256)) == [TilePath(0, 0), TilePath(1, 0, 1)]
    for path in (*found, TilePath(None, 1234067), TilePath(3, 999)):
        assert TilePath.parse(str(path)) == path


@pytest.mark.parametrize(
    "text",
    ["", "tile/0/1", "tile/0/x000/001", "tile/00/001", "tile/64/001", "tile/0/001.p/0", "tile/0/001.p/256",
     "tile/0/001.p/01", "tile/0/../001", "tile/entries/001/", "tile/0/" + "x001/" * 20 + "001"],
)  # fmt: skip
def test_a_path_of_no_tile_is_refused(text: str) -> None:
    with pytest.raises(TileError):
        TilePath.parse(text)


@given(st.lists(st.binary(max_size=300)))
def test_a_bundle_gives_its_entries_again(entries: list[bytes]) -> None:
    assert tiles.unbundled(tiles.bundle(entries)) == entries


@pytest.mark.parametrize("body", [b"\x00", b"\x00\x05abc", b"\xff\xff"])
def test_a_bundle_that_is_cut_short_is_refused(body: bytes) -> None:
    with pytest.raises(TileError):
        tiles.unbundled(body)
