"""ScopedLoRA: 17 operators, 7 categories, blending while a scope is young, and refusals."""

import json

import numpy as np
import pytest

from edgenet import errors
from edgenet.learn import CATEGORIES, SCOPES, ScopedLoRA

X = np.array([1, -2, 3, 0.5, 2], np.float32)
E = np.array([0.5, 1, -1, 2, 0.1], np.float32)
SORT, LIMIT, FILTER = 11, 12, 9


def made(**options):
    return ScopedLoRA(5, 0.5, 0.02, **options)


def test_there_are_17_operators_in_7_categories():
    assert len(SCOPES) == 17 and len(CATEGORIES) == 7
    assert [ScopedLoRA.scope_name(i) for i in (0, 2, 4, 9, 16)] == [
        "SeqScan",
        "HnswScan",
        "NestedLoopJoin",
        "Filter",
        "Result",
    ]
    assert ScopedLoRA.category_name(LIMIT) == "Order"


def test_adapting_a_scope_leaves_other_categories_alone():
    scoped = made()
    scoped.forward_array(SORT, X)
    scoped.adapt_array(SORT, E)
    assert not np.array_equal(scoped.forward_array(LIMIT, X), X)  # shares the category
    assert np.array_equal(scoped.forward_array(FILTER, X), X)
    assert [scoped.adapt_count(op) for op in (SORT, LIMIT, FILTER)] == [1, 0, 0] and scoped.total_adapt_count() == 1


@pytest.mark.parametrize("count", [0, 1, 9, 10, 12])
def test_a_young_scope_is_blended_with_its_category_by_tenths(count):
    scoped = made()
    for _ in range(4):
        scoped.adapt_array(LIMIT, -E, X)  # the category learns something the scope does not know
    for _ in range(count):
        scoped.adapt_array(SORT, E, X)
    own, group = scoped._pair(SORT)
    w = min(count / 10, 1)
    want = X + 0.5 * (w * ((own.a @ X) @ own.b) + (1 - w) * ((group.a @ X) @ group.b))
    assert np.allclose(scoped.forward_array(SORT, X), want, atol=1e-5)


def test_without_fallback_a_scope_stands_alone():
    scoped = made()
    scoped.adapt_array(LIMIT, E, X)
    scoped.set_category_fallback(False)
    assert np.array_equal(scoped.forward_array(SORT, X), X)


@pytest.mark.parametrize("improvement", [0.25, -0.25])
def test_reward_adapts_scope_and_category(improvement):
    scoped = made()
    scoped.forward_array(SORT, X)
    scoped.adapt_with_reward(SORT, improvement)
    assert scoped.adapt_count(SORT) == 1 and scoped.delta_norm(SORT) > 0
    assert not np.array_equal(scoped.forward_array(LIMIT, X), X)


@pytest.mark.parametrize("op_type", [-1, 17, 99, 1.5, True, "Sort", None])
def test_unknown_operators_are_refused_everywhere(op_type):
    scoped = made()
    for act in (
        scoped.scope_name,
        scoped.adapt_count,
        scoped.delta_norm,
        scoped.reset_scope,
        lambda o: scoped.forward_array(o, X),
        lambda o: scoped.adapt_array(o, E, X),
        lambda o: scoped.adapt_with_reward(o, 1),
    ):
        with pytest.raises(errors.UnknownScope):
            act(op_type)
    assert scoped.total_adapt_count() == 0


def test_a_step_that_fails_leaves_scope_and_category_as_they_were():
    scoped = made()
    scoped.forward_array(SORT, X)
    before = scoped.export_state()
    for wrong, error in ((E[:3], errors.WrongLength), (E * np.nan, errors.NotFinite)):
        with pytest.raises(error):
            scoped.adapt_array(SORT, wrong)
    assert scoped.export_state() == before


def test_each_scope_remembers_its_own_input():
    scoped = made()
    scoped.forward_array(SORT, X)
    scoped.forward_array(FILTER, np.ones(5))
    scoped.adapt_array(SORT, E)
    other = made()
    other.adapt_array(SORT, E, X)
    assert np.array_equal(scoped.forward_array(SORT, X), other.forward_array(SORT, X))


def test_reset_of_one_scope_and_of_all():
    scoped = made()
    for op in (SORT, FILTER):
        scoped.adapt_array(op, E, X)
    scoped.reset_scope(SORT)
    assert [scoped.adapt_count(op) for op in (SORT, FILTER)] == [0, 1]
    scoped.reset_all()
    assert scoped.total_adapt_count() == 0 and np.array_equal(scoped.forward_array(FILTER, X), X)


def test_state_survives_json_and_a_spoilt_one_changes_nothing():
    scoped, other = made(), made()
    scoped.adapt_array(SORT, E, X)
    state = json.loads(json.dumps(scoped.export_state()))
    other.import_state(state)
    assert np.array_equal(other.forward_array(SORT, X), scoped.forward_array(SORT, X))
    spoilt = [
        {**state, "scopes": state["scopes"][:16]},
        {**state, "scopes": [*state["scopes"][:16], {}]},
        {**state, "format": "x"},
        [],
    ]
    before = other.export_state()
    for wrong in spoilt:
        with pytest.raises(errors.BackupInvalid):
            other.import_state(wrong)
    assert other.export_state() == before
