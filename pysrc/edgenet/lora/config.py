"""What an adapter is and how it is trained, by PEFT's names; judged when made. Pure, runs anywhere.

LoRA (Hu et al. 2021): a weight W (out, in) becomes W + scale * B A with A (r, in) and B (out, r), scale = lora_alpha / r, or
lora_alpha / sqrt(r) with rsLoRA (Kalajdzievski 2023).
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace

from ..errors import InvalidOption, InvalidRank, UnknownTargetModule
from ..options import Check, below, between, check_options, flag, one_of, positive, python_names, whole

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SHORT = {name.removesuffix("_proj"): name for name in MODULES}  # what people type
# Names of the same places in architectures that call them otherwise, as Hugging Face does: phi3, phi2, BERT.
OTHER_MODULES = ("qkv_proj", "gate_up_proj", "dense", "fc1", "fc2", "query", "key", "value")
MOST_RANK, MOST_RANK_IN_TAB = 256, 16

# Keys of PEFT's adapter_config.json that change nothing while they hold one of these values; None means any value.
_WITHOUT_EFFECT: dict[str, tuple | None] = {
    **dict.fromkeys(("peft_type",), ("LORA",)),
    **dict.fromkeys(("fan_in_fan_out", "use_dora", "use_qalora", "lora_bias", "ensure_weight_tying"), (False, None)),
    **dict.fromkeys(
        ("modules_to_save", "layer_replication", "trainable_token_indices", "target_parameters", "alora_invocation_tokens",
         "arrow_config", "lora_ga_config"),
        (None, [], {}),
    ),
    **dict.fromkeys(
        ("auto_mapping", "base_model_name_or_path", "corda_config", "eva_config", "exclude_modules", "inference_mode",
         "init_lora_weights", "layers_pattern", "layers_to_transform", "loftq_config", "megatron_config", "megatron_core",
         "peft_version", "qalora_group_size", "revision", "runtime_config", "task_type"),
        None,
    ),
}  # fmt: skip
_PATTERN = re.compile(r"\^?[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")  # module names; real regular expressions are not run
_CHECKS: dict[str, Check] = {
    "lora_alpha": positive(65536),
    "lora_dropout": below(0, 1),
    "use_rslora": flag(),
    "bias": one_of("none"),
}


@dataclass(frozen=True)
class LoraConfig:
    """An adapter's shape. `target_modules`: names of PEFT (`q_proj` …), short (`q`) or as paths; "all-linear" is all seven.

    `rank_pattern` and `alpha_pattern` give single modules, by name or by the end of their path, another rank or alpha.
    Raises InvalidRank, UnknownTargetModule, InvalidOption. Trap: a larger `r` alone makes each update smaller, for the scale falls.
    """

    r: int = 8
    lora_alpha: float = 16
    lora_dropout: float = 0.0
    target_modules: tuple[str, ...] = ("q_proj", "v_proj")
    use_rslora: bool = False
    bias: str = "none"
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "target_modules", _modules(self.target_modules))
        check_options(self, _CHECKS)
        for name, patterns in (("rank_pattern", self.rank_pattern), ("alpha_pattern", self.alpha_pattern)):
            _check_pattern(name, patterns)
        for rank in (self.r, *self.rank_pattern.values()):
            require_rank(rank, MOST_RANK)

    @property
    def scale(self) -> float:
        """What B A is multiplied by where no pattern says otherwise."""
        return _scale(self.lora_alpha, self.r, self.use_rslora)

    def rank_of(self, module: str) -> int:
        """The rank at a module's path, or at its last name."""
        return _matching(self.rank_pattern, module, self.r)

    def scale_of(self, module: str) -> float:
        """What B A is multiplied by at a module's path, or at its last name."""
        return _scale(_matching(self.alpha_pattern, module, self.lora_alpha), self.rank_of(module), self.use_rslora)

    def check_rank(self, most: int) -> LoraConfig:
        """Itself. Raises InvalidRank where a rank is above `most`: a tab trains up to 16."""
        for rank in (self.r, *self.rank_pattern.values()):
            require_rank(rank, most)
        return self

    def weakened(self, strength: float) -> LoraConfig:
        """The same with every scale multiplied by `strength`."""
        alphas = {name: alpha * strength for name, alpha in self.alpha_pattern.items()}
        return replace(self, lora_alpha=self.lora_alpha * strength, alpha_pattern=alphas)

    def to_json(self, base_model_name_or_path: str | None = None) -> str:
        """The text of PEFT's adapter_config.json, keys sorted, but for those of patterns: the first that fits a module counts."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        data |= {"target_modules": sorted(self.target_modules), "rank_pattern": dict(self.rank_pattern)}
        data |= {"alpha_pattern": dict(self.alpha_pattern), "base_model_name_or_path": base_model_name_or_path}
        data |= {"peft_type": "LORA", "task_type": "CAUSAL_LM", "fan_in_fan_out": False, "inference_mode": True}
        data |= {"init_lora_weights": True}
        return json.dumps(dict(sorted(data.items())), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, warn: Callable[[str], None] = warnings.warn) -> LoraConfig:
        """The config of an adapter_config.json. Keys that this EdgeNet does not know are dropped; `warn` is told their names.

        Raises InvalidOption for what is no JSON object, or asks for what would change the adapter's mathematics (DoRA, …).
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise InvalidOption(f"adapter_config.json is no JSON ({error}). Get the adapter again.") from error
        if not isinstance(data, dict):
            raise InvalidOption(f"adapter_config.json must be an object, found {type(data).__name__}.")
        own = {f.name for f in fields(cls)}
        _refuse_other_methods(data)
        if unknown := sorted(set(data) - own - set(_WITHOUT_EFFECT)):
            warn(f"adapter_config.json has keys that this EdgeNet does not know and leaves out: {', '.join(unknown)}.")
        given = {name: value for name, value in data.items() if name in own and value is not None}
        return cls(**given)


_TRAINING: dict[str, Check] = {
    "batch_size": whole(1, 8),
    "gradient_accumulation": whole(1, 1024),
    "learning_rate": positive(10),
    "warmup_steps": whole(0, 10**6),
    "max_steps": whole(1, 10**6),
    "max_epochs": whole(0, 10**6),
    "optimizer": one_of("adamw", "sgd"),
    "scheduler": one_of("cosine", "linear", "constant"),
    "max_length": whole(8, 4096),
    "clip": between(0, 1e6),
    "weight_decay": between(0, 1),
    "momentum": below(0, 1),
    "seed": whole(0),
    "validation": below(0, 1),
    "patience": whole(0, 10**6),
    "evaluate_every": whole(0, 10**6),
    "checkpoint_every": whole(0, 10**6),
    "objective": one_of("causal", "masked"),
    "mask_probability": positive(0.9),
    "strength": positive(1),
    "dots": one_of("int8", "f32"),
    "gradient_checkpointing": flag(),
}


@dataclass(frozen=True)
class TrainingConfig:
    """How an adapter is trained. A step sees `batch_size * gradient_accumulation` rows of at most `max_length` tokens.

    `max_epochs`: the data is gone through no more often (0: as `max_steps` asks): text learned by heart costs what was known before.
    `clip` 0: gradients are not clipped; `patience` 0: no early stop, else after so many validations without a new best;
    `validation`: the share of examples kept apart; `evaluate_every`, `checkpoint_every` 0: at the end only.
    `strength`: the share of the trained scale with which the adapter is validated and written: a course at a high rate, of which a part is
    used, learns as much and forgets less than one at a low rate (WiSE-FT, Wortsman et al. 2022, there for whole weights).
    `dots`: "int8" quantises activations and gradients, "f32" expands weights. Raises InvalidOption.
    """

    batch_size: int = 1
    gradient_accumulation: int = 1
    learning_rate: float = 1e-3
    warmup_steps: int = 10
    max_steps: int = 200
    max_epochs: int = 0
    optimizer: str = "adamw"
    scheduler: str = "cosine"
    max_length: int = 128
    clip: float = 1.0
    weight_decay: float = 0.0
    momentum: float = 0.9
    seed: int = 0
    validation: float = 0.1
    patience: int = 0
    evaluate_every: int = 50
    checkpoint_every: int = 50
    objective: str = "causal"
    mask_probability: float = 0.15
    strength: float = 1.0
    dots: str = "int8"
    gradient_checkpointing: bool = False

    def __post_init__(self):
        check_options(self, _TRAINING)
        for needed in ("validation", "evaluate_every"):
            if self.patience and not getattr(self, needed):
                raise InvalidOption(
                    f"patience ends a course by its validations, of which there are none with {needed} 0. Leave patience out, or let "
                    f"{needed} be what it is by default ({type(self).__dataclass_fields__[needed].default}).",
                    option="patience",
                )

    @classmethod
    def from_data(cls, data: Mapping) -> TrainingConfig:
        """From JSON data with names in either language's style (`batchSize`). Raises InvalidOption, also for unknown names."""
        given = python_names(data)
        if unknown := sorted(set(given) - set(_TRAINING)):
            raise InvalidOption(f"Training has no option {unknown[0]!r}. Options: {', '.join(_TRAINING)}.")
        return cls(**given)

    def course(self, rows: int) -> TrainingConfig:
        """The same for data of so many rows: `max_steps` are no more than `max_epochs` of them take, a batch no more than all of them. A
        shorter course is the same in small: `warmup_steps` and `evaluate_every` shrink as it does; `checkpoint_every`, what a crash may
        cost, does not.
        """
        if not self.max_epochs:
            return self
        batch = min(self.batch_size, rows)
        most = -(-self.max_epochs * rows // (batch * self.gradient_accumulation))
        if most >= self.max_steps:
            return replace(self, batch_size=batch)
        paced = {name: -(-getattr(self, name) * most // self.max_steps) for name in ("warmup_steps", "evaluate_every")}
        return replace(self, batch_size=batch, max_steps=most, **paced)


def _modules(names) -> tuple[str, ...]:
    if names == "all-linear":
        return MODULES
    if not isinstance(names, (list, tuple, set)) or not names:
        raise UnknownTargetModule(f"target_modules must name at least one of {', '.join(MODULES)}, found {names!r}.")
    for name in names:
        if not isinstance(name, str) or SHORT.get(name, name).rpartition(".")[2] not in {*MODULES, *OTHER_MODULES}:
            raise UnknownTargetModule(
                f"There is no target module {name!r:.80}. Target modules: {', '.join(MODULES)}, or {', '.join(OTHER_MODULES)}.",
                module=str(name)[:80],
            )
    return tuple(dict.fromkeys(SHORT.get(name, name) for name in (sorted(names) if isinstance(names, set) else names)))


def require_rank(rank, most: int) -> None:
    """Raises InvalidRank for what is no rank up to `most`."""
    if type(rank) is not int or not 1 <= rank <= most:
        tab = f" A tab trains ranks up to {most}; the CLI goes to {MOST_RANK}." if most < MOST_RANK else ""
        raise InvalidRank(f"The rank r must be a whole number from 1 to {most}, found {rank!r}.{tab}", rank=str(rank))


def _check_pattern(option: str, patterns: Mapping) -> None:
    if not isinstance(patterns, Mapping):
        raise InvalidOption(f"{option} must map names of modules to numbers, found {patterns!r}.", option=option)
    for name, value in patterns.items():
        if not _PATTERN.fullmatch(name):
            raise InvalidOption(
                f"{option} must name modules, as `q_proj`; found the expression {name!r}.", option=option
            )
        if option == "alpha_pattern" and not _CHECKS["lora_alpha"][1](value):
            raise InvalidOption(
                f"{option}[{name!r}] must be {_CHECKS['lora_alpha'][0]}, found {value!r}.", option=option
            )


def _matching(patterns: Mapping, module: str, otherwise):
    """The first pattern that is the end of a module's path, or with `^` all of it: PEFT's rule, for names."""
    return next((v for name, v in patterns.items() if _fits(name, module)), otherwise)


def _fits(name: str, module: str) -> bool:
    return module == name[1:] if name.startswith("^") else f".{module}".endswith(f".{name}")


def _scale(alpha: float, rank: int, rslora: bool) -> float:
    return alpha / (rank**0.5 if rslora else rank)


def _refuse_other_methods(data: Mapping) -> None:
    for name, neutral in _WITHOUT_EFFECT.items():
        if neutral is not None and name in data and data[name] not in neutral:
            raise InvalidOption(
                f"The adapter's {name} is {data[name]!r}; EdgeNet has LoRA without it. Train or convert the adapter anew.",
                option=name,
            )


@dataclass(frozen=True)
class Preset:
    """A starting point for a kind of work; nothing in it is trained."""

    lora: LoraConfig
    training: TrainingConfig
    tags: tuple[str, ...]


# Tried on packages that the Python completion model never saw (`python -m tools.codemodel.personal`): hot, and less than half of it used.
_PERSONAL = TrainingConfig(batch_size=2, learning_rate=5e-3, max_steps=300, max_epochs=6, max_length=256, strength=0.5)
_KINDS = (
    # name, rank, alpha, dropout, modules, training, tags
    ("personal", 4, 8, 0.0, "q k v o gate up down", _PERSONAL, "own-texts, own-code"),
    ("coder", 16, 32, 0.05, "q k v o", TrainingConfig(), "code-gen, refactoring, syntax"),
    ("researcher", 8, 16, 0.10, "q k v", TrainingConfig(), "analysis, research, synthesis"),
    ("security", 16, 32, 0.05, "q k v o gate up down", TrainingConfig(), "security, vulnerabilities, audit"),
    ("architect", 12, 24, 0.05, "q v gate up", TrainingConfig(), "architecture, design, patterns"),
    ("reviewer", 8, 16, 0.10, "q v", TrainingConfig(), "review, quality, best-practices"),
)
PRESETS: dict[str, Preset] = {
    name: Preset(LoraConfig(rank, alpha, dropout, tuple(modules.split())), training, tuple(tags.split(", ")))
    for name, rank, alpha, dropout, modules, training, tags in _KINDS
}
DEFAULT_PRESET = "personal"
