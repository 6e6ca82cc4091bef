"""Means of a step's figures between two log lines, and the first step at which one was not finite."""

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cyclegan_gc.distributed import ALONE, Ranks
from cyclegan_gc.errors import TrainingStoppedError

CURE = "lower optimizer.learning_rate, try --precision fp32 or check the data"


class Meter:
    """Sums stay on the device: adding to them never waits for a step to be computed."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.sums = self.first_broken = torch.zeros(0)
        self.count = 0
        self.since = time.perf_counter()

    def add(self, step: int, figures: Mapping[str, Tensor]) -> None:
        """Count the figures of ``step``, each a tensor of one number; a step need not have all of them."""
        self._know(figures)
        nothing = torch.zeros((), device=self.sums.device)
        values = torch.stack([figures[name].float() if name in figures else nothing for name in self.counts])
        self.sums = self.sums + values
        newly_broken = ~values.isfinite() & (self.first_broken == 0)
        self.first_broken = torch.where(newly_broken, step, self.first_broken)
        self.counts = {name: count + (name in figures) for name, count in self.counts.items()}
        self.count += 1

    def _know(self, figures: Mapping[str, Tensor]) -> None:
        """Add entries for new figures."""
        fresh = [name for name in figures if name not in self.counts]
        if fresh:
            more = torch.zeros(len(fresh), device=figures[fresh[0]].device)
            self.counts |= dict.fromkeys(fresh, 0)
            self.sums, self.first_broken = (
                torch.cat([each.to(more.device), more]) for each in (self.sums, self.first_broken)
            )

    def check(self, ranks: Ranks = ALONE, last_good: str = "") -> None:
        """Make sure that every figure of every rank was finite since the last :meth:`take`.

        Raises:
            TrainingStoppedError: with the term, the step and ``last_good``, on every rank.
        """
        never = 2**31
        steps = [int(step) or never for step in self.first_broken.tolist()] or [never]
        first = -ranks.largest(-min(steps))
        if first < never:
            terms = [name for name, step in zip(self.counts, steps, strict=True) if step == first]
            raise TrainingStoppedError(
                f"step {first}: {', '.join(terms) or 'a term of another rank'} not finite; {last_good}{CURE}"
            )

    def take(self, ranks: Ranks = ALONE) -> dict[str, float]:
        """Means over the ranks and the steps since the last call, and ``steps_per_second``; then resets."""
        sums = ranks.total(self.sums.to("cpu", copy=True)) / ranks.size
        speed = self.count / max(time.perf_counter() - self.since, 1e-9)
        counted = zip(self.counts.items(), sums.tolist(), strict=True)
        means = {name: total / count for (name, count), total in counted if count}
        self.sums, self.count, self.since = torch.zeros_like(self.sums), 0, time.perf_counter()
        self.counts = dict.fromkeys(self.counts, 0)
        return {**means, "steps_per_second": speed if math.isfinite(speed) else 0.0}

    def state_dict(self, ranks: Ranks = ALONE) -> dict[str, Any]:
        """Plain types and a tensor from which :meth:`load_state_dict` continues."""
        sums = ranks.total(self.sums.to("cpu", copy=True)) / ranks.size
        return {"counts": dict(self.counts), "sums": sums, "count": self.count}

    def load_state_dict(self, saved: dict[str, Any], device: torch.device) -> None:
        """Continue where ``saved`` was taken."""
        self.counts, self.count = dict(saved["counts"]), saved["count"]
        self.sums = saved["sums"].to(device)
        self.first_broken = torch.zeros_like(self.sums)
