"""TrajectoryBuffer: improvement, quality, statistics over all records against NumPy, the ring, and refusals."""

import math

import numpy as np
import pytest

from edgenet import errors
from edgenet.learn import TrajectoryBuffer
from edgenet.learn.trajectory import improvement, quality

X = np.arange(3, dtype=np.float32)


@pytest.mark.parametrize(
    "execution,baseline,gain,good",
    [(50, 100, 1.0, 1.0), (100, 100, 0.0, 0.5), (200, 100, -0.5, 0.25), (0, 100, 0.0, 0.5), (10, 1000, 99.0, 1.0)],
)
def test_improvement_and_quality(execution, baseline, gain, good):
    assert improvement(execution, baseline) == gain and quality(gain) == good


def test_statistics_over_all_records_also_those_no_longer_held():
    rng = np.random.default_rng(0)
    buffer, gains = TrajectoryBuffer(10, 3), []
    for n in range(37):
        execution, baseline = rng.uniform(1, 100, 2)
        gains.append(baseline / execution - 1)
        buffer.record(X, n % 17, n % 5, execution, baseline)
    gains = np.array(gains)
    assert (len(buffer), buffer.total_count()) == (10, 37)
    assert np.isclose(buffer.mean_improvement(), gains.mean()) and np.isclose(buffer.variance(), gains.var(ddof=1))
    assert buffer.success_rate() == (gains > 0).mean() and buffer.best_improvement() == gains.max()
    assert buffer.best_attention() == gains.argmax() % 5
    assert buffer.high_quality_count(0.5) == (np.clip((gains[-10:] + 1) / 2, 0, 1) > 0.5).sum()


def test_when_everything_was_slower_the_best_is_the_least_slow():
    buffer = TrajectoryBuffer(4, 3)
    assert buffer.best_improvement() == -math.inf
    buffer.record(X, 0, 3, 10, 5)
    assert buffer.best_improvement() == -0.5 and buffer.best_attention() == 3 and buffer.success_rate() == 0


def test_a_record_teaches_its_embedding_or_away_from_it():
    buffer = TrajectoryBuffer(2, 3)
    buffer.record(X + 9, 0, 0, 1, 1)
    buffer.record(X, 0, 0, 1, 2)
    buffer.record(X + 1, 0, 0, 2, 1)
    assert buffer.gradient(0).tolist() == X.tolist() and buffer.gradient(1).tolist() == (-X - 1).tolist()
    assert buffer.count_by_operator(0) == 2


REFUSED = [
    ("embedding too long", (np.zeros(4), 0, 0, 1, 1), errors.WrongLength),
    ("NaN in the embedding", (X * np.nan, 0, 0, 1, 1), errors.NotFinite),
    ("an unknown operator", (X, 17, 0, 1, 1), errors.UnknownScope),
    ("an attention kind beyond a byte", (X, 0, 256, 1, 1), errors.InvalidOption),
    ("a negative time", (X, 0, 0, -1, 1), errors.InvalidOption),
    ("a time that is NaN", (X, 0, 0, 1, math.nan), errors.NotFinite),
]


@pytest.mark.parametrize("reason,args,error", REFUSED, ids=[r[0] for r in REFUSED])
def test_it_refuses_and_keeps_nothing(reason, args, error):
    buffer = TrajectoryBuffer(2, 3)
    with pytest.raises(error):
        buffer.record(*args)
    assert buffer.is_empty() and buffer.total_count() == 0


def test_an_empty_buffer_has_plain_statistics():
    buffer = TrajectoryBuffer()
    assert (buffer.success_rate(), buffer.mean_improvement(), buffer.variance(), buffer.high_quality_count(0)) == (
        0,
        0,
        0,
        0,
    )


def test_reset_forgets():
    buffer = TrajectoryBuffer(2, 3)
    buffer.record(X, 0, 0, 1, 2)
    buffer.reset()
    assert buffer.is_empty() and buffer.best_improvement() == -math.inf
