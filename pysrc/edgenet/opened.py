"""A language model that a host opened, and the session on it that scripts get. Runs anywhere."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from .errors import InvalidOption
from .language import LanguageSession
from .lora.adapter import Adapter, other_file
from .lora.checkpoint import Store
from .lora.config import DEFAULT_PRESET, MOST_RANK, PRESETS, LoraConfig, TrainingConfig
from .lora.data import prepare
from .lora.examples import Example, mask_token, tokenize
from .lora.trainer import Trainer
from .models.compiled import Compiled
from .run import Engine
from .run.adapters import EngineAdapters
from .text.encode import TextTokenizer


@dataclass(frozen=True)
class Opened:
    """What a host found under a model's name. `values`: as `training_programs` takes them; `sha256`: of the model's file; `close` frees
    what the engine stands on; `most_rank`: of adapters that are trained here.
    """

    engine: Engine
    header: object
    made: Compiled
    tokenizer: TextTokenizer
    values: Mapping
    random_seed: Callable[[], int]
    sha256: str = ""
    close: Callable[[], Awaitable[None]] | None = None
    most_rank: int = MOST_RANK


class Language(LanguageSession):
    """A LanguageSession on a model that was opened by name: it can be taught, too."""

    def __init__(self, opened: Opened):
        self._opened, program = opened, opened.made.program
        adapters = EngineAdapters(opened.engine, opened.header, program.capacity, opened.values)
        super().__init__(opened.engine, program, opened.tokenizer, opened.made.generation, opened.random_seed, adapters)

    def create_trainer(
        self,
        examples: Iterable[Example],
        lora: LoraConfig | None = None,
        training: TrainingConfig | None = None,
        *,
        store: Store | None = None,
    ) -> Trainer:
        """A Trainer on texts or {"input", "output"} pairs; iterate over it, then ask it for its `adapter(name)`.

        `lora`, `training`: by default those of the preset "personal". What had to be split is told as a warning. Raises InvalidOption for
        texts that are not in a list, InvalidRank, TooLittleData, and what `prepare` and `training_programs` raise.
        """
        if isinstance(examples, (str, Mapping)):
            raise InvalidOption(
                f"create_trainer takes a list of examples, found one {type(examples).__name__}. Write [it]."
            )
        it, preset = self._opened, PRESETS[DEFAULT_PRESET]
        lora, training = (lora or preset.lora).check_rank(it.most_rank), training or preset.training
        data = prepare(tokenize(examples, self.tokenizer, self.generation), training)
        for notice in data.notices:
            warnings.warn(notice["message"], stacklevel=2)
        mask = mask_token(self.tokenizer) if training.objective == "masked" else None
        return Trainer(
            self._open(),
            it.header,
            data,
            lora,
            training,
            store=store,
            values=it.values,
            mask=mask,
            base_sha256=it.sha256,
        )

    async def load_adapter(self, adapter: Adapter, id: str | None = None) -> str:  # noqa: A002
        """As `LanguageSession.load_adapter`; a warning tells where it was trained on another file of the model."""
        name = await super().load_adapter(adapter, id)
        if notice := other_file(adapter, self._opened.sha256):
            warnings.warn(notice["message"], stacklevel=2)
        return name

    async def dispose(self) -> None:
        """Free the engine and what it stands on. Safe to call twice."""
        first = self._engine is not None
        await super().dispose()
        if first and self._opened.close:
            await self._opened.close()
