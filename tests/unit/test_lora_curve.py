"""What a course's losses tell in two numbers, of trainings of any length."""

import pytest

from edgenet.lora.curve import ends

LONG = [*range(10), *[50] * 80, *range(20, 30)]  # the first ten have the mean 4.5, the last ten 24.5


def points(values, first):
    return list(enumerate(values, first))


@pytest.mark.parametrize(
    ("losses", "validations", "found", "reason"),
    [
        ([9, 8, 7, 6], [5, 3, 4], (5, 3), "validation's first and lowest, whose adapter it is"),
        (LONG, [], (4.5, 24.5), "without validation the means of ten steps"),
        ([8, 7, 6, 5], [], (7.5, 5.5), "or of half of them: no step is in both"),
        ([9, 1, 2], [], (9, 2), "of three, the first and the last"),
        ([7], [], (7, 7), "a single step is both"),
        ([], [], (None, None), "nothing was done"),
    ],
)
def test_a_course_in_two_numbers(losses, validations, found, reason):
    assert ends(points(losses, 1), points(validations, 0)) == found


@pytest.mark.parametrize(("losses", "validations", "after"), [([3, 2], [], 2), ([3, 2], [4, 5], 4)])
def test_a_course_that_was_seen_from_its_middle_on_has_no_loss_before(losses, validations, after):
    assert ends(points(losses, 40), points(validations, 50)) == (None, after)
