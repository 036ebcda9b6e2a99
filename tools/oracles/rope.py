"""Rotary frequencies of every scaling, by transformers' own functions. CPython with torch."""

from dataclasses import dataclass, field

from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from tools.oracles.small_models import llama3_divisors

LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
SHORT, LONG = [1 + i / 16 for i in range(16)], [1 + i for i in range(16)]
HEAD, TRAINED = 32, 4096


@dataclass(frozen=True)
class Case:
    """`theirs`: transformers' parameters; `ours`: GGUF's keys without the architecture; `context`: tokens compiled for."""

    kind: str
    theirs: dict
    ours: dict
    context: int = TRAINED
    values: dict = field(default_factory=dict)


def _yarn(factor: float, original: int, extra: dict, ours: dict) -> Case:
    stated = {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": factor,
        "rope.scaling.original_context_length": original,
    }
    return Case("yarn", {"factor": factor, "original_max_position_embeddings": original} | extra, stated | ours)


def _dynamic(factor: float, context: int) -> Case:
    return Case("dynamic", {"factor": factor}, {"rope.scaling.type": "dynamic", "rope.scaling.factor": factor}, context)


def _long(context: int, original: int) -> Case:
    values = {"rope_factors_long.weight": LONG, "rope_factors_short.weight": SHORT}
    theirs = {
        "long_factor": LONG,
        "short_factor": SHORT,
        "original_max_position_embeddings": original,
        "attention_factor": 1.19,
    }
    ours = {"rope.scaling.original_context_length": original, "rope.scaling.attn_factor": 1.19}
    return Case("longrope", theirs | {"factor": TRAINED / original}, ours, context, values)


CASES = {
    "linear": Case("linear", {"factor": 4.0}, {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}),
    "linear by its factor alone": Case("linear", {"factor": 2.5}, {"rope.scaling.factor": 2.5}),
    "linear by the first files' key": Case("linear", {"factor": 2.0}, {"rope.scale_linear": 2.0}),
    "NTK-aware, context doubled": _dynamic(2.0, 2 * TRAINED),
    "NTK-aware, within the context": _dynamic(2.0, 64),
    "YaRN": _yarn(4.0, 1024, {}, {}),
    "YaRN, its ramp and magnitude given": _yarn(
        8.0,
        512,
        {"beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 1.4},
        {"rope.scaling.yarn_beta_fast": 16.0, "rope.scaling.yarn_beta_slow": 2.0, "rope.scaling.yarn_attn_factor": 1.4},
    ),
    "YaRN that stretches nothing": _yarn(1.0, TRAINED, {}, {}),
    "LongRoPE within the original context": _long(1024, 1024),
    "LongRoPE beyond it": _long(TRAINED, 1024),
    "Llama 3": Case("llama3", LLAMA3, {}, values={"rope_freqs.weight": llama3_divisors(10000.0, HEAD, original=8192)}),
}


def record(case: Case) -> dict:
    """{"metadata", "size", "context", "values", "frequencies", "magnitude"}: what is asked and what transformers answers."""
    parameters = {"rope_type": case.kind, "rope_theta": 10000.0} | case.theirs
    config = LlamaConfig(head_dim=HEAD, max_position_embeddings=TRAINED, rope_parameters=parameters)
    rates, magnitude = ROPE_INIT_FUNCTIONS[case.kind](config, "cpu", seq_len=case.context)
    metadata = {"general.architecture": "llama", "llama.context_length": TRAINED, "llama.rope.freq_base": 10000.0}
    metadata |= {f"llama.{key}": value for key, value in case.ours.items()}
    asked = {"metadata": metadata, "size": HEAD, "context": case.context, "values": case.values}
    return asked | {"frequencies": [float(f"{r:.9g}") for r in rates.tolist()], "magnitude": magnitude}
