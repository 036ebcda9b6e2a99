"""Muon for the matrices inside the layers, AdamW for the rest, as one optimiser with one state.

Muon: the momentum of a matrix is replaced by the nearest semi-orthogonal matrix, found by five Newton-Schulz steps
(K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; update scale after J. Liu et al., 2025).
"""

import torch


def orthogonal(m):
    """An approximation of U Vᵀ of the matrix m (any shape), by the quintic iteration of the Muon paper."""
    x = m / (m.norm() + 1e-7)
    turned = x.shape[0] > x.shape[1]
    x = x.T if turned else x
    for _ in range(5):
        g = x @ x.T
        x = 3.4445 * x + (-4.7750 * g + 2.0315 * g @ g) @ x
    return x.T if turned else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised; decoupled weight decay."""

    def __init__(self, parameters, lr, momentum=0.95, weight_decay=0.1):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("momentum", torch.zeros_like(p))
                m.lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(m, group["momentum"]))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * 0.2 * max(p.shape) ** 0.5)


def make(model, muon_lr=0.005, adam_lr=0.003):
    """(Muon, AdamW) over the decoder's parameters."""
    inner = [p for p in model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in inner}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [Muon(inner, muon_lr), torch.optim.AdamW(rest, adam_lr, betas=(0.9, 0.95), weight_decay=0.01, eps=1e-10)]
