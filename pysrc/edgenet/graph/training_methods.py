"""Methods of `Graph` that training and adapters need: states, products of f32 matrices, gradients, losses, optimisers. Runs anywhere."""

from __future__ import annotations

from typing import Any

from .data import Tensor


class TrainingMethods:
    """Appends ops as `Graph`'s own methods do. `Graph` is the only subclass, and brings `_append`."""

    _append: Any

    # --- attention between the rows of a run
    def attention_rows(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        sequences: Tensor,
        *,
        heads: int,
        kv_heads: int,
        head_dim: int,
        scale: float,
        causal: bool = True,
        window: int = 0,
        softcap: float = 0.0,
    ) -> Tensor:
        """Attention without cache: rows of a sequence lie together, in order of their positions. A causal row sees itself and those of
        its sequence before it, the nearest `window` of them (0: all); scores are as in `attention`.
        """
        form = {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, "scale": scale}
        mask = {"causal": causal, "window": window, "softcap": softcap}
        return self._append("attention_rows", {"q": q, "k": k, "v": v, "sequences": sequences}, **form, **mask)

    def attention_rows_grad(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        sequences: Tensor,
        dy: Tensor,
        *,
        heads: int,
        kv_heads: int,
        head_dim: int,
        scale: float,
        causal: bool = True,
        window: int = 0,
        softcap: float = 0.0,
    ) -> Tensor:
        """dq, dk, dv of `attention_rows` side by side: (r, (heads + 2 kv_heads) * head_dim)."""
        form = {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, "scale": scale}
        mask = {"causal": causal, "window": window, "softcap": softcap}
        ports = {"q": q, "k": k, "v": v, "sequences": sequences, "dy": dy}
        return self._append("attention_rows_grad", ports, **form, **mask)

    # --- products
    def columns(self, x: Tensor, first: int, width: int) -> Tensor:
        """x[:, first : first + width]."""
        return self._append("columns", {"x": x}, first=first, width=width)

    def dense(self, x: Tensor, w: Tensor, factor: float = 1.0) -> Tensor:
        """factor * x @ w.T: (r, in), f32 (out, in) -> (r, out). `w` is an input, a state or a part of one."""
        return self._append("dense", {"x": x, "w": w}, factor=factor)

    def dense_t(self, x: Tensor, w: Tensor, factor: float = 1.0) -> Tensor:
        """factor * x @ w: (r, out), f32 (out, in) -> (r, in)."""
        return self._append("dense_t", {"x": x, "w": w}, factor=factor)

    def outer(self, x: Tensor, y: Tensor, factor: float = 1.0) -> Tensor:
        """factor * x.T @ y: (r, a), (r, b) -> (a, b)."""
        return self._append("outer", {"x": x, "y": y}, factor=factor)

    def matmul_t(self, y: Tensor, w: Tensor) -> Tensor:
        """y @ w, the gradient of `matmul`: (r, out), (out, in) -> (r, in)."""
        return self._append("matmul_t", {"y": y, "w": w})

    def adapters(self, y: Tensor, x: Tensor, pool: Tensor, table: Tensor, mix: Tensor, site: int) -> Tensor:
        """y + sum over slots of mix[row, slot] * (x @ A.T) @ B.T. `table` i32 (sites, slots * 4): offsets in the pool, in values, of A
        (rank, in) and of B (out, rank), the rank (0: none), 0; `mix` (r, slots).
        """
        return self._append("adapters", {"y": y, "x": x, "pool": pool, "table": table, "mix": mix}, site=site)

    # --- regularisation and gradients of element-wise ops and norms
    def dropout(self, x: Tensor, seeds: Tensor, rate: float, stream: int) -> Tensor:
        """x * mask / (1 - rate) (Srivastava et al. 2014). `seeds` u32 (4,): seed low, high, step, 0; `stream` tells sites apart. The mask
        is Philox4x32-10's: the same for the same seeds, stream and element, so its gradient is itself.
        """
        return self._append("dropout", {"x": x, "seeds": seeds}, rate=rate, stream=stream)

    def rms_norm_grad(self, x: Tensor, weight: Tensor | None, dy: Tensor, *, eps: float, heads: int = 1) -> Tensor:
        """dx of `rms_norm`."""
        return self._append("rms_norm_grad", {"x": x, "weight": weight, "dy": dy}, eps=eps, heads=heads)

    def layer_norm_grad(self, x: Tensor, weight: Tensor, dy: Tensor, *, eps: float) -> Tensor:
        """dx of `layer_norm`."""
        return self._append("layer_norm_grad", {"x": x, "weight": weight, "dy": dy}, eps=eps)

    def activation_grad(self, x: Tensor, dy: Tensor, act: str) -> Tensor:
        """dy * act'(x)."""
        return self._append("activation_grad", {"x": x, "dy": dy}, act=act)

    def softcap_grad(self, x: Tensor, dy: Tensor, cap: float) -> Tensor:
        """dy * (1 - tanh(x / cap)^2)."""
        return self._append("softcap_grad", {"x": x, "dy": dy}, cap=cap)

    # --- the loss, in chunks of the vocabulary
    def token_stats(self, logits: Tensor, targets: Tensor, first: int, stats: Tensor | None = None) -> Tensor:
        """(r, 4): the largest logit, the sum of exp(logit - largest), the target's logit, 1 if it is there; over the chunk of the
        vocabulary whose first token is `first`, and those that `stats` has seen.
        """
        return self._append("token_stats", {"logits": logits, "targets": targets, "stats": stats}, first=first)

    def cross_entropy(self, stats: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """(r,): weights * -log softmax(logits)[target]; 0 where the target is -1."""
        return self._append("cross_entropy", {"stats": stats, "targets": targets, "weights": weights})

    def cross_entropy_grad(self, logits: Tensor, stats: Tensor, targets: Tensor, weights: Tensor, first: int) -> Tensor:
        """weights * (softmax - onehot) of a chunk: (r, v). `stats` are those of the whole vocabulary."""
        ports = {"logits": logits, "stats": stats, "targets": targets, "weights": weights}
        return self._append("cross_entropy_grad", ports, first=first)

    # --- states: what these change, they change in place
    def accumulate(self, state: Tensor, x: Tensor) -> Tensor:
        """state += x. The result stands for nothing."""
        return self._append("accumulate", {"state": state, "x": x})

    def norm(self, x: Tensor) -> Tensor:
        """(1,): sqrt(sum x^2) of a state (count,)."""
        return self._append("norm", {"x": x})

    def adamw(
        self, parameters: Tensor, gradients: Tensor, first: Tensor, second: Tensor, norm: Tensor, hyper: Tensor
    ) -> Tensor:
        """One step of AdamW (Loshchilov & Hutter 2019) over states (count,); the gradients become 0. `hyper` f32 (16,): its words are
        `kernels.lm.training_table.HYPER_NAMES`.
        """
        states = {"parameters": parameters, "gradients": gradients, "first": first, "second": second}
        return self._append("adamw", {**states, "norm": norm, "hyper": hyper})

    def sgd(self, parameters: Tensor, gradients: Tensor, momentum: Tensor, norm: Tensor, hyper: Tensor) -> Tensor:
        """One step of gradient descent with momentum and decoupled decay; `hyper` as in `adamw`."""
        states = {"parameters": parameters, "gradients": gradients, "momentum": momentum}
        return self._append("sgd", {**states, "norm": norm, "hyper": hyper})
