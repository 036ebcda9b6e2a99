"""A Qwen2 decoder in torch: RMSNorm, rotary pairs (i, i + d/2), grouped queries with biases on q, k, v, SwiGLU, tied head."""

from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """What a Qwen2 `config.json` needs to say."""

    vocabulary: int = 4096
    width: int = 256
    layers: int = 8
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 768
    context: int = 1024
    rope_theta: float = 10_000.0
    epsilon: float = 1e-6

    @property
    def head(self) -> int:
        return self.width // self.heads

    def config(self) -> dict:
        """As `config.json` of the transformers library spells it."""
        names = {
            "vocabulary": "vocab_size",
            "width": "hidden_size",
            "layers": "num_hidden_layers",
            "heads": "num_attention_heads",
            "kv_heads": "num_key_value_heads",
            "ffn": "intermediate_size",
            "context": "max_position_embeddings",
            "rope_theta": "rope_theta",
            "epsilon": "rms_norm_eps",
        }
        fixed = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu"}
        return fixed | {"tie_word_embeddings": True} | {names[k]: v for k, v in asdict(self).items()}


def rotate(x, cos, sin):
    """Rotary embedding of x (batch, heads, tokens, head) by tables (tokens, head)."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return x * cos + turned * sin


class Layer(nn.Module):
    """One decoder layer; submodule names are those of the transformers library."""

    def __init__(self, s: Shape):
        super().__init__()
        self.s = s
        self.input_layernorm = nn.RMSNorm(s.width, s.epsilon)
        self.post_attention_layernorm = nn.RMSNorm(s.width, s.epsilon)
        self.q_proj = nn.Linear(s.width, s.heads * s.head)
        self.k_proj = nn.Linear(s.width, s.kv_heads * s.head)
        self.v_proj = nn.Linear(s.width, s.kv_heads * s.head)
        self.o_proj = nn.Linear(s.heads * s.head, s.width, bias=False)
        self.gate_proj = nn.Linear(s.width, s.ffn, bias=False)
        self.up_proj = nn.Linear(s.width, s.ffn, bias=False)
        self.down_proj = nn.Linear(s.ffn, s.width, bias=False)

    def attend(self, x, cos, sin):
        b, t, _ = x.shape
        q, k, v = (f(x).view(b, t, -1, self.s.head).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        repeat = self.s.heads // self.s.kv_heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(b, t, -1))

    def forward(self, x, cos, sin, dropout: float):
        x = x + functional.dropout(self.attend(self.input_layernorm(x), cos, sin), dropout, self.training)
        h = self.post_attention_layernorm(x)
        return x + functional.dropout(
            self.down_proj(functional.silu(self.gate_proj(h)) * self.up_proj(h)), dropout, self.training
        )


class Decoder(nn.Module):
    """ids (batch, tokens) → logits (batch, tokens, vocabulary), f32."""

    def __init__(self, shape: Shape, dropout: float = 0.0):
        super().__init__()
        self.shape, self.dropout = shape, dropout
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, shape.epsilon)
        self.apply(self._start)

    def _start(self, module):
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def tables(self, tokens: int):
        """cos and sin, (tokens, head) each."""
        s = self.shape
        rate = s.rope_theta ** (-torch.arange(0, s.head, 2, dtype=torch.float32) / s.head)
        angle = torch.arange(tokens, dtype=torch.float32)[:, None] * rate
        angle = torch.cat((angle, angle), -1)
        return angle.cos(), angle.sin()

    def forward(self, ids):
        x = self.embed_tokens(ids)
        cos, sin = self.tables(ids.shape[1])
        for layer in self.layers:
            x = layer(x, cos, sin, self.dropout)
        return functional.linear(self.norm(x), self.embed_tokens.weight)
