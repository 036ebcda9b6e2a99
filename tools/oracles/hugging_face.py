"""The small models in `transformers`: its own classes, given the same weights. CPython with torch.

GGUF's tensors are turned back into the library's: rows of q and k unpermuted where llama.cpp's converter permutes them, Gemma's norms
less the 1 that the converter adds.
"""

import numpy as np
import torch
import transformers as t

CLASSES = {
    "llama": t.LlamaForCausalLM,
    "mistral": t.MistralForCausalLM,
    "qwen2": t.Qwen2ForCausalLM,
    "qwen3": t.Qwen3ForCausalLM,
    "phi2": t.PhiForCausalLM,
    "phi3": t.Phi3ForCausalLM,
    "gemma": t.GemmaForCausalLM,
    "gemma2": t.Gemma2ForCausalLM,
    "bert": t.BertModel,
    "nomic-bert": t.NomicBertModel,
}
# What a configuration calls GGUF's metadata.
CONFIG = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "vocab_size": "vocab_size",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "layer_norm_eps": "attention.layer_norm_epsilon",
    "sliding_window": "attention.sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
# Names of the library's tensors by GGUF's, {} the block's number. Decoders share the first table.
DECODER = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "model.layers.{}.input_layernorm",
    "attn_q": "model.layers.{}.self_attn.q_proj",
    "attn_k": "model.layers.{}.self_attn.k_proj",
    "attn_v": "model.layers.{}.self_attn.v_proj",
    "attn_qkv": "model.layers.{}.self_attn.qkv_proj",
    "attn_output": "model.layers.{}.self_attn.o_proj",
    "attn_q_norm": "model.layers.{}.self_attn.q_norm",
    "attn_k_norm": "model.layers.{}.self_attn.k_norm",
    "ffn_norm": "model.layers.{}.post_attention_layernorm",
    "ffn_gate": "model.layers.{}.mlp.gate_proj",
    "ffn_up": "model.layers.{}.mlp.up_proj",
    "ffn_down": "model.layers.{}.mlp.down_proj",
}
NAMES = {
    "phi2": DECODER
    | {
        "output_norm": "model.final_layernorm",
        "attn_output": "model.layers.{}.self_attn.dense",
        "ffn_up": "model.layers.{}.mlp.fc1",
        "ffn_down": "model.layers.{}.mlp.fc2",
    },
    "phi3": DECODER | {"ffn_up": "model.layers.{}.mlp.gate_up_proj"},
    "gemma2": DECODER
    | {
        "post_attention_norm": "model.layers.{}.post_attention_layernorm",
        "ffn_norm": "model.layers.{}.pre_feedforward_layernorm",
        "post_ffw_norm": "model.layers.{}.post_feedforward_layernorm",
    },
    "bert": {
        "token_embd": "embeddings.word_embeddings",
        "token_types": "embeddings.token_type_embeddings",
        "position_embd": "embeddings.position_embeddings",
        "token_embd_norm": "embeddings.LayerNorm",
        "attn_q": "encoder.layer.{}.attention.self.query",
        "attn_k": "encoder.layer.{}.attention.self.key",
        "attn_v": "encoder.layer.{}.attention.self.value",
        "attn_output": "encoder.layer.{}.attention.output.dense",
        "attn_output_norm": "encoder.layer.{}.attention.output.LayerNorm",
        "ffn_up": "encoder.layer.{}.intermediate.dense",
        "ffn_down": "encoder.layer.{}.output.dense",
        "layer_output_norm": "encoder.layer.{}.output.LayerNorm",
    },
    "nomic-bert": {
        "token_embd": "embeddings.word_embeddings",
        "token_types": "embeddings.token_type_embeddings",
        "token_embd_norm": "embeddings.LayerNorm",
        "attn_q": "layers.{}.self_attn.q_proj",
        "attn_k": "layers.{}.self_attn.k_proj",
        "attn_v": "layers.{}.self_attn.v_proj",
        "attn_output": "layers.{}.self_attn.o_proj",
        "attn_output_norm": "layers.{}.post_attention_layernorm",
        "ffn_gate": "layers.{}.mlp.gate_proj",
        "ffn_up": "layers.{}.mlp.up_proj",
        "ffn_down": "layers.{}.mlp.down_proj",
        "layer_output_norm": "layers.{}.post_mlp_layernorm",
    },
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def kind(small) -> str:
    """The library's family: Mistral's files call themselves llama."""
    return (
        "mistral" if small.architecture == "llama" and small.value("attention.sliding_window") else small.architecture
    )


def rope_parameters(small) -> dict:
    """The library's `rope_parameters` of a small model."""
    base = {"rope_theta": small.value("rope.freq_base") or 10000.0, "rope_type": "default"}
    if small.architecture == "phi2":
        head = small.sizes()["h"]
        base |= {"partial_rotary_factor": small.value("rope.dimension_count") / head}
    if "rope_freqs.weight" in small.extra:
        return base | LLAMA3
    original = small.value("rope.scaling.original_context_length")
    if small.value("rope.scaling.type") == "yarn":
        factor = small.value("rope.scaling.factor")
        return base | {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}
    if "rope_factors_long.weight" in small.extra:
        factors = {f"{n}_factor": small.extra[f"rope_factors_{n}.weight"] for n in ("long", "short")}
        return base | factors | {"rope_type": "longrope", "original_max_position_embeddings": original}
    return base


def configuration(small):
    values = {theirs: small.value(ours) for theirs, ours in CONFIG.items() if small.value(ours) is not None}
    values["sliding_window"] = values.get("sliding_window") or None
    family = CLASSES[kind(small)]
    if small.architecture == "gemma2":
        values["query_pre_attn_scalar"] = small.sizes()["h"]
    values |= {"tie_word_embeddings": "output.weight" not in small.shapes()}
    values |= {
        "pad_token_id": 0 if small.architecture == "nomic-bert" else None,
        "bos_token_id": None,
        "eos_token_id": None,
        "type_vocab_size": 2,
    }
    if small.architecture == "phi3":
        values["original_max_position_embeddings"] = small.value("rope.scaling.original_context_length")
    return family.config_class(**values, rope_parameters=rope_parameters(small), attn_implementation="eager")


def unpermuted(rows: np.ndarray, heads: int) -> np.ndarray:
    """The inverse of llama.cpp's permutation: rows (head, pair, side) back to (head, side, pair)."""
    parts = rows.reshape(heads, -1, 2, *rows.shape[1:])
    return parts.swapaxes(1, 2).reshape(rows.shape)


def state(small) -> dict[str, torch.Tensor]:
    """The library's tensors."""
    names, sizes, made = NAMES.get(small.architecture, DECODER), small.sizes(), {}
    for name, values in small.tensors().items():
        if name in small.extra:
            continue
        for part, rows in _parts(small, name, values):
            block, _, rest = part.removeprefix("blk.").partition(".") if part.startswith("blk.") else ("", "", part)
            plain, end = rest.rsplit(".", 1)
            if small.architecture == "llama" and plain in ("attn_q", "attn_k"):
                rows = unpermuted(rows, sizes["q" if plain == "attn_q" else "k"] // sizes["h"])
            if small.architecture.startswith("gemma") and plain.endswith("norm"):
                rows = rows - 1
            made[f"{names[plain].format(block)}.{end}"] = torch.from_numpy(np.array(rows))
    return made


def _parts(small, name: str, values: np.ndarray):
    """Fused q, k, v of an architecture whose library keeps them apart, in three."""
    if "attn_qkv" not in name or small.architecture == "phi3":
        return [(name, values)]
    q, k = small.sizes()["q"], small.sizes()["k"]
    return list(zip((name.replace("qkv", p) for p in "qkv"), np.split(values, [q, q + k]), strict=True))


def model(small):
    """The library's model with the small model's weights. Fails when a weight has no place or a place no weight."""
    made = CLASSES[kind(small)](configuration(small)).eval()
    missing, unexpected = made.load_state_dict(state(small), strict=False)
    left = [n for n in missing if not n.startswith("pooler") and n != "lm_head.weight"]
    assert not left and not unexpected, (left, unexpected)
    return made


@torch.no_grad()
def logits_of(small, prompt: list[int]) -> np.ndarray:
    """(tokens, vocabulary) f32. The context's length is the model's, as a Program compiled for all of it."""
    made = model(small)
    if (
        "rope_factors_long.weight" in small.extra
    ):  # the library picks by the prompt's length, a Program by its context's
        _pick_long(made)
    return made(torch.tensor([prompt]), use_cache=False).logits[0].float().numpy()


def _pick_long(made) -> None:
    rotary = made.model.rotary_emb
    divisors = torch.tensor(made.config.rope_parameters["long_factor"])
    base, size = made.config.rope_parameters["rope_theta"], 2 * len(divisors)
    rotary.inv_freq = rotary.original_inv_freq = 1 / (divisors * base ** (torch.arange(0, size, 2) / size))


@torch.no_grad()
def vectors_of(small, prompts: list[list[int]]) -> list[np.ndarray]:
    """A unit vector (width,) f32 of each prompt, pooled as sentence-transformers does."""
    made, rows = model(small), []
    for prompt in prompts:
        hidden = made(torch.tensor([prompt])).last_hidden_state[0]
        pooled = hidden[0] if small.value("pooling_type") == 2 else hidden.mean(0)
        rows.append((pooled / pooled.norm()).numpy())
    return rows
