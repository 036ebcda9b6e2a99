"""A model that `open_model` opened, in CPython: what its session tells of the adapters that it takes."""

import asyncio
import warnings
from dataclasses import replace

import pytest

from edgenet.cli.opening import open_here
from edgenet.cli.shell import Shell
from edgenet.host.files import sha256_of
from tests.adapters import random_adapter
from tests.unit.small_model_runs import opened


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "small.gguf"
    path.write_bytes(opened("qwen2", "q8_0").data)
    return path


def load(model, adapter) -> list[str]:
    """The warnings of loading an adapter."""

    async def opened_and_loaded():
        session = await open_here(str(model), 0, Shell(str(model.parent / "models.yaml"), quiet=True))
        try:
            assert await session.load_adapter(adapter, "mine") == "mine"
        finally:
            await session.dispose()

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        asyncio.run(opened_and_loaded())
    return [str(warning.message) for warning in found]


def test_an_adapter_of_another_file_of_the_model_is_told_as_a_warning(model):
    made = random_adapter(opened("qwen2", "q8_0").header, "letters")
    (told,) = load(model, replace(made, base_sha256="0" * 64))
    assert "another quantisation" in told
    assert load(model, replace(made, base_sha256=sha256_of(model))) == load(model, made) == []
