"""From marks to weights: true gradient steps on a rank-r adapter of the query, y = x + alpha (x A) B, q' = y/|y|.

A row is one mark. A relevant row wants its passage above every other passage known for any mark; a row marked not
relevant wants its passage below the mean of those shown with it. Rows that hold their margin push no more, steps are
small and stop when every row holds: so the adapter is near the smallest that does it, which is what leaves other
queries alone. Pure NumPy, any host; no clock, no hidden randomness: equal rows and options give equal weights."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Options:
    """How the policy learns. The defaults are those measured in docs/learning.md."""

    rank: int = 16
    alpha: float = 1.0
    margin: float = 0.05  # cosine by which a marked passage should lead
    hold: float = 0.02  # cosine from which a row counts as held; between hold and margin it still pushes
    softness: float = 0.02  # temperature of the loss, in cosine: how far behind the hardest rival others push too
    rate: float = 0.3  # step length on the gradient of the summed loss
    reach: float = 0.1  # no query moves further than this in one step (to first order, before normalising)
    start: float = 0.7  # length of A's columns at the start
    steps: int = 80  # budget of steps
    seed: int = 0  # fills the directions of A that the marks leave free


@dataclass(frozen=True)
class Rows:
    """The marks as arrays: n marks, p passages, d numbers in a vector."""

    queries: np.ndarray  # float32 (n, d), unit rows
    pool: np.ndarray  # float32 (p, d), unit rows: every passage that any mark knows
    wanted: np.ndarray  # float32 (n, p), rows sum to 1: what should score higher
    beaten: np.ndarray  # bool (n, p): what should score lower, each by the margin


@dataclass(frozen=True)
class Fit:
    """What `fit` returns. Losses are mean cosine by which rows miss their margin (smoothed), before and after."""

    A: np.ndarray  # float32 (d, r)
    B: np.ndarray  # float32 (r, d)
    steps: int
    loss_before: float
    loss_after: float
    lead: np.ndarray  # float32 (n,): cosine by which each row leads; negative where it does not


def fit(rows, options):
    """Return the Fit of an adapter trained from nothing on all rows."""
    r, (n, d) = options.rank, rows.queries.shape
    A, B = np.zeros((d, r), np.float32), np.zeros((r, d), np.float32)
    if not n:
        return Fit(A, B, 0, 0.0, 0.0, np.zeros(0, np.float32))
    base = rows.queries @ rows.pool.T  # (n, p) scores before any adapter
    state = forward(rows, base, A, B, options)
    first, step = state.loss, 0
    if state.lead.min() < options.hold:
        A = starting_directions(rows, state, options)
    while state.lead.min() < options.hold and step < options.steps:
        A, B = descend(rows, state, A, B, options)
        state, step = forward(rows, base, A, B, options), step + 1
    if not step:
        A = np.zeros_like(A)
    return Fit(A, B, step, first, state.loss, state.lead)


@dataclass(frozen=True)
class State:
    """One forward pass: the loss, the lead of each row, and what the gradient needs."""

    loss: float
    lead: np.ndarray  # (n,)
    hidden: np.ndarray  # (n, r)   alpha x A
    moved: np.ndarray  # (n, d)   y, before normalising
    length: np.ndarray  # (n, 1)   |y|
    pull: np.ndarray  # (n, p)   d loss / d score
    score: np.ndarray  # (n, p)   q' . passage
    pool_hidden: np.ndarray  # (p, r)   passages B^T


def forward(rows, base, A, B, options):
    """Return the State of the rows under the adapter. `base` (n, p): the scores of the unadapted queries.

    Row loss: s log(1 + sum_j exp((score_j - wanted + margin) / s)), j over what should be beaten: the hinge of the
    hardest rival, made smooth by the softness s (with one rival it is the logistic triplet loss)."""
    hidden = options.alpha * (rows.queries @ A)
    moved = rows.queries + hidden @ B
    length = np.linalg.norm(moved, axis=1, keepdims=True)
    pool_hidden = rows.pool @ B.T
    score = (base + hidden @ pool_hidden.T) / length
    behind = behind_of(rows, score)
    z = (behind + options.margin) / options.softness
    top = np.maximum(z.max(axis=1, keepdims=True), 0)
    share = np.exp(z - top)
    total = share.sum(axis=1, keepdims=True) + np.exp(-top)
    share = share / total
    loss = options.softness * float(np.mean(top + np.log(total)))
    pull = share - share.sum(axis=1, keepdims=True) * rows.wanted
    return State(loss, -behind.max(axis=1), hidden, moved, length, pull, score, pool_hidden)


def behind_of(rows, scores):
    """Return (n, p): by how much each rival is ahead; -inf where there is nothing to beat."""
    return np.where(rows.beaten, scores - (rows.wanted * scores).sum(axis=1, keepdims=True), -np.inf)


def gradient_of_output(rows, state):
    """Return e = d loss / d y, (n, d): through the scores, and through the normalising of y."""
    direct = state.pull @ rows.pool
    along = (state.pull * state.score).sum(axis=1, keepdims=True)
    return (direct - along * state.moved / state.length) / state.length


def descend(rows, state, A, B, options):
    """Return (A, B) after one step: dB = alpha (xA)^T e, dA = alpha x^T (e B^T), cut back to the reach.

    e itself (see gradient_of_output) is not formed: that would be n p d products, most of a step's work."""
    share = state.pull / state.length
    along = (state.pull * state.score).sum(axis=1, keepdims=True) / state.length**2
    dB = (state.hidden.T @ share) @ rows.pool - (state.hidden * along).T @ state.moved
    eB = share @ state.pool_hidden - along * (state.moved @ B.T)
    dA = options.alpha * (rows.queries.T @ eB)
    move = options.alpha * ((rows.queries @ dA) @ B) + state.hidden @ dB
    furthest = float(np.sqrt((move * move).sum(axis=1).max()))
    rate = min(options.rate, options.reach / max(furthest, 1e-12))
    return A - np.float32(rate) * dA, B - np.float32(rate) * dB


def starting_directions(rows, state, options):
    """Return A (d, r): orthogonal columns along the strongest directions of the first gradient x^T e, so that B's
    first step is the full gradient's best rank-r part (as LoRA-GA, Wang et al. 2024, arXiv:2407.05000).

    Found by subspace iteration from seeded noise; where there are fewer directions than r, noise remains."""
    e = gradient_of_output(rows, state)
    noise = np.random.default_rng(options.seed).standard_normal((rows.queries.shape[1], options.rank))
    basis = np.linalg.qr(noise.astype(np.float32))[0]
    for _ in range(3):
        image = rows.queries.T @ (e @ (e.T @ (rows.queries @ basis)))
        basis = np.linalg.qr(image + 1e-6 * basis)[0]
    return (options.start * basis).astype(np.float32)


def apply(vectors, A, B, alpha):
    """Return the adapted unit vectors, (n, d) or (d,) like `vectors`; with B = 0 this only normalises."""
    moved = vectors + np.float32(alpha) * ((vectors @ A) @ B)
    return moved / np.linalg.norm(moved, axis=-1, keepdims=True)
