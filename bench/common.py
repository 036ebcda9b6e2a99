"""What every bench shares: claims, interleaved samples, the table for people and the one JSON line for machines.

A bench module has `run(quick: bool) -> dict`, made by `result`. `value` says how many times better ours is than the peer's, by medians:
throughput over throughput, the peer's time or bytes over ours. A peer that was not run has no samples and is printed as "not measured".
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

LEAST_SAMPLES = 5


@dataclass(frozen=True)
class Peer:
    """What ours is compared with; `samples` in the claim's unit, empty when it was not run."""

    name: str
    version: str
    config: str
    samples: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Claim:
    """One figure: our samples, the peer's, and how many times better ours is. `target` is the least `value` that was promised."""

    name: str
    unit: str
    better: str  # "higher" or "lower"
    samples: list[float]
    peer: Peer
    target: float | None = None

    @property
    def value(self) -> float | None:
        """Ours against the peer's by medians; None when either side was not measured."""
        if not self.samples or not self.peer.samples:
            return None
        ours, theirs = statistics.median(self.samples), statistics.median(self.peer.samples)
        high, low = (ours, theirs) if self.better == "higher" else (theirs, ours)
        return high / low if low else None

    def to_data(self) -> dict:
        peer = {
            "name": self.peer.name,
            "version": self.peer.version,
            "config": self.peer.config,
            "samples": self.peer.samples,
        }
        target = {} if self.target is None else {"target": self.target}
        data = {"name": self.name, "unit": self.unit, "better": self.better, "samples": self.samples, "peer": peer}
        return {**data, **target, "value": self.value}


def claim(
    name: str,
    unit: str,
    better: str,
    ours: list[float],
    peer: str,
    version: str,
    config: str,
    theirs: list[float],
    target: float | None = None,
) -> dict:
    """One claim as plain data, `value` worked out."""
    return Claim(name, unit, better, ours, Peer(peer, version, config, theirs), target).to_data()


def interleave(sides: dict[str, Callable[[], float]], samples: int = LEAST_SAMPLES) -> dict[str, list[float]]:
    """Samples of each side in turn, the order reversed every other round, so that the machine's moods fall on all alike."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for n in range(samples):
        for name in list(sides)[:: -1 if n % 2 else 1]:
            taken[name].append(sides[name]())
    return taken


def machine() -> dict:
    """Where it was measured: processor, cores, memory, system, load at the end."""
    info = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "cpu": _cpu_name(),
    }
    if hasattr(os, "getloadavg"):
        info["load"] = round(os.getloadavg()[0], 2)
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        info["memory_gib"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return info


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(
                (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
            )
    except OSError:
        return platform.processor()


def _figure(samples: list[float]) -> str:
    return f"{statistics.median(samples):.4g} ({min(samples):.4g}-{max(samples):.4g})" if samples else "not measured"


def table(claims: list[dict]) -> str:
    """Median and range of both sides, and the ratio with its target."""
    rows = [("claim", "unit", "ours", "peer", "better by", "target")]
    for c in claims:
        value, target, peer = c["value"], c.get("target"), c["peer"]
        ratio = "not measured" if value is None else f"{value:.2f}x"
        goal = "" if target is None else f">= {target:g}" + ("" if value is None or value >= target else "  MISSED")
        theirs = f"{_figure(peer['samples'])} {peer['name']} {peer['version']}"
        rows.append((c["name"], c["unit"], _figure(c["samples"]), theirs, ratio, goal))
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def result(claims: list[dict], **extra: object) -> dict:
    """The bench's object: `{"claims": […], "machine": …}`."""
    return {"claims": claims, "machine": {**machine(), **extra}}


def report(made: dict, as_json: bool = False) -> None:
    """Print what a bench's `run` answered: the table, and with `as_json` the object on the last line."""
    print(table(made["claims"]), flush=True)
    if as_json:
        print(json.dumps(made, separators=(",", ":"), allow_nan=False), flush=True)
