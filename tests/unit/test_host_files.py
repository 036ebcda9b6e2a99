"""This machine's files: what of them has one place. CPython only."""

import pytest

from edgenet.errors import StorageError
from edgenet.host.files import Disk, sha256_of


def test_a_files_hash_is_that_of_fips_180(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    (tmp_path / "million").write_bytes(b"a" * 1_000_000)  # more than one piece
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(str(tmp_path / "million")) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


def test_trying_whether_a_folder_can_be_written_leaves_nothing(tmp_path):
    Disk().probe(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    (tmp_path / "there").mkdir()
    Disk().probe(tmp_path / "there" / "new")
    assert list(tmp_path.iterdir()) == [tmp_path / "there"] and not list((tmp_path / "there").iterdir())


def test_what_cannot_be_hashed_is_named(tmp_path):
    for what in (tmp_path, tmp_path / "none"):
        with pytest.raises(StorageError) as met:
            sha256_of(what)
        assert str(what) in met.value.message
