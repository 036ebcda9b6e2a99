"""The table of failures: one class and code each, the same in both languages."""

import pickle

import pytest

from edgenet import errors
from tests.trust_vectors import load

CLASSES = list(errors.BY_CODE.items())


def test_the_table_is_the_shared_one():
    found = [
        {"name": c.__name__, "parent": c.__base__.__name__, "code": code, "exitStatus": c.exit_status}
        for code, c in sorted(CLASSES)
    ]
    wanted = [entry | {"parent": entry["parent"] or "Exception"} for entry in load("errors")["errors"]]
    assert found == wanted


@pytest.mark.parametrize(("code", "cls"), CLASSES)
def test_every_failure_crosses_as_data_and_by_pickle_as_its_own_class(code, cls):
    error = cls("asked, found, next", message="a detail named like the parameter", n=1)
    for copy in (errors.EdgeNetError.from_data(error.to_data()), pickle.loads(pickle.dumps(error))):
        assert type(copy) is cls
        assert copy.to_data() == error.to_data()
        assert str(copy) == "asked, found, next"


@pytest.mark.parametrize(("code", "cls"), CLASSES)
def test_every_failure_has_a_meaning_and_a_known_exit_status(code, cls):
    assert cls.exit_status in errors.EXIT_STATUS
    assert cls.__doc__.strip().split(".")[0]


def test_an_unknown_code_is_kept_on_the_base_class():
    data = {"name": "New", "code": "from_the_future", "message": "m", "details": {"a": 1}}
    error = errors.EdgeNetError.from_data(data)
    assert (type(error), error.code, error.details) == (errors.EdgeNetError, "from_the_future", {"a": 1})


def test_a_code_cannot_be_used_twice():
    with pytest.raises(TypeError, match="hash_mismatch"):
        type("Twin", (errors.EdgeNetError,), {}, code="hash_mismatch")
