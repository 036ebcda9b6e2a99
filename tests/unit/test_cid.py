"""CIDs, by the answers of an independent importer (its name and version stand in the vector file)."""

from hashlib import sha256

import pytest

from edgenet import cid
from edgenet.errors import InvalidCid
from tests.trust_vectors import content, load

FILES = load("cid")["files"]
FEW = [pytest.param(row, id=f"{row['content']}-{row['size']}") for row in FILES if row["size"] < 2 << 20]
MANY = [pytest.param(row, id=str(row["size"])) for row in FILES if row["size"] >= 2 << 20]


@pytest.mark.parametrize("row", FEW)
@pytest.mark.parametrize("piece", [5000, 262_144, 1 << 22])
def test_a_file_has_the_cid_that_the_importer_gave(row, piece):
    data = content(row["content"], row["size"])
    assert cid.file_cid(data[i : i + piece] for i in range(0, len(data), piece)) == row["cid"]


@pytest.mark.parametrize("row", MANY)
def test_trees_of_many_leaves_have_the_cid_that_the_importer_gave(row):
    # Gigabytes of zeros: the leaf is hashed once and given to the tree as often as it occurs.
    builder, full = cid.CidBuilder(), cid._leaf(bytes(cid.LEAF_SIZE))
    leaves = (row["size"] - 1) // cid.LEAF_SIZE
    for _ in range(leaves):
        builder._push(0, full)
    builder.update(bytes(row["size"] - leaves * cid.LEAF_SIZE))
    assert builder.finish() == row["cid"]


def test_a_small_file_is_its_raw_leaf():
    assert cid.parse_cid(cid.file_cid([b"hello"])) == (cid.RAW, sha256(b"hello").digest())


def test_a_large_file_is_a_dag_pb_node():
    assert cid.parse_cid(cid.file_cid([bytes(cid.LEAF_SIZE + 1)]))[0] == cid.DAG_PB


GOOD = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("b", "no bytes"),
        ("QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", "version 0"),
        (GOOD.upper(), "upper case"),
        ("z" + GOOD[1:], "another base"),
        (GOOD[:-1], "one digit short"),
        (GOOD[:-1] + "v", "unused bits set"),
        (GOOD + "a", "one digit more"),
        ("bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "dag-cbor"),
        ("bé" + GOOD[2:], "not ASCII"),
    ],
)
def test_other_cids_are_refused(text, why):
    with pytest.raises(InvalidCid):
        cid.parse_cid(text)
