"""LoRA training in native PyTorch, F32: a decoder of Qwen2's form with random weights, AdamW on the adapters' factors alone.

python step.py SHAPE_JSON THREADS ROWS RANK; answers every line of input with one of JSON: seconds of a step, and the peak of memory so far.
"""

import json
import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional

shape, threads, rows, rank = json.loads(sys.argv[1]), *map(int, sys.argv[2:5])
torch.set_num_threads(threads)
torch.manual_seed(0)


class Linear(nn.Module):
    """A frozen matrix, with LoRA beside it when asked."""

    def __init__(self, width, out, bias=False, lora=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, width) * 0.02, requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(out), requires_grad=False) if bias else None
        self.lora = lora
        if lora:
            self.a = nn.Parameter(torch.randn(rank, width) * 0.02)
            self.b = nn.Parameter(torch.zeros(out, rank))

    def forward(self, x):
        y = functional.linear(x, self.weight, self.bias)
        return y + 2.0 * functional.linear(functional.linear(x, self.a), self.b) if self.lora else y


def turned(x, cos, sin):
    """Rotary positions, halves paired."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class Layer(nn.Module):
    def __init__(self, hidden, heads, kv_heads, head_dim, ffn):
        super().__init__()
        q, kv = heads * head_dim, kv_heads * head_dim
        self.head_dim = head_dim
        self.norms = nn.ModuleList(nn.RMSNorm(hidden, 1e-6).requires_grad_(False) for _ in range(2))
        self.q, self.k, self.v = (Linear(hidden, out, bias=True, lora=True) for out in (q, kv, kv))
        self.o = Linear(q, hidden, lora=True)
        self.gate, self.up, self.down = Linear(hidden, ffn), Linear(hidden, ffn), Linear(ffn, hidden)

    def forward(self, x, cos, sin):
        y = self.norms[0](x)
        q, k, v = (m(y).view(1, rows, -1, self.head_dim).transpose(1, 2) for m in (self.q, self.k, self.v))
        y = functional.scaled_dot_product_attention(
            turned(q, cos, sin), turned(k, cos, sin), v, is_causal=True, enable_gqa=True
        )
        x = x + self.o(y.transpose(1, 2).reshape(1, rows, -1))
        y = self.norms[1](x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


sizes = (shape[name] for name in ("hidden", "heads", "kv_heads", "head_dim", "ffn"))
sizes = tuple(sizes)
layers = nn.ModuleList(Layer(*sizes) for _ in range(shape["layers"]))
table = torch.randn(shape["vocab"], shape["hidden"]) * 0.02  # also the head
norm = nn.RMSNorm(shape["hidden"], 1e-6).requires_grad_(False)
half = torch.arange(0, shape["head_dim"], 2) / shape["head_dim"]
angles = torch.outer(torch.arange(rows), shape["rope_theta"] ** -half)
trained = [p for p in layers.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-4)
print(json.dumps({"torch": torch.__version__, "trained": sum(p.numel() for p in trained)}), flush=True)
for _ in sys.stdin:
    ids = torch.randint(0, shape["vocab"], (1, rows + 1))
    start = time.perf_counter()
    x = functional.embedding(ids[:, :-1], table)
    for layer in layers:
        x = layer(x, angles.cos(), angles.sin())
    functional.cross_entropy(functional.linear(norm(x), table)[0], ids[0, 1:]).backward()
    optimizer.step()
    optimizer.zero_grad()
    took = time.perf_counter() - start
    print(json.dumps({"s": took, "peak": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}), flush=True)
