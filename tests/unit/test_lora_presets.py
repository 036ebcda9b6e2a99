"""The presets of training are those that the page's tests know: tests/vectors/presets.json."""

import json
from pathlib import Path

from edgenet.lora.config import PRESETS

VECTORS = Path(__file__).parents[1] / "vectors/presets.json"


def row(preset):
    lora, course = preset.lora, preset.training
    shape = [lora.r, lora.lora_alpha, lora.lora_dropout, list(lora.target_modules)]
    numbers = (course.learning_rate, course.batch_size, course.max_steps, course.max_epochs, course.max_length)
    return [*shape, *numbers, course.strength]


def test_presets_are_those_that_the_page_shows():
    assert {name: row(preset) for name, preset in PRESETS.items()} == json.loads(VECTORS.read_text())
