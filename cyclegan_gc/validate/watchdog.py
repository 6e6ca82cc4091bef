"""The watchdog: recognises the known failures of unpaired training while it runs.

Losses alone do not show them: an inverted or collapsed translation can have a low cycle loss. So the watchdog also
looks at the pictures of each validation. A finding becomes an alarm when it lasts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cyclegan_gc.model.cyclegan import Batch, Translations
from cyclegan_gc.validate.score import RealCT, Slabs, depth_histogram_distance, expected_by_depth, profile

LASTING = {
    "exploded_loss": 1,
    "discriminator_saturation": 3,
    "dead_gradients": 2,
    "blank_batches": 2,
    "contrast_inversion": 2,
    "identity": 2,
    "mode_collapse": 2,
}
"""Checks in a row (log intervals for the first four, validations for the others) that make an alarm of a finding."""

CURES = {
    "exploded_loss": "the training has diverged; lower optimizer.learning_rate and start again",
    "discriminator_saturation": "lower optimizer.learning_rate or network.discriminator_width, or give more volumes",
    "dead_gradients": "lower optimizer.learning_rate; with fp16 try bf16",
    "blank_batches": "look at the volumes with cyclegan-gc info; the body was not found, or data.crop misses it",
    "contrast_inversion": "go back to an earlier checkpoint with another --seed, or raise loss.gradient",
    "identity": "set loss.identity to 0, and check that --data.mr and --data.ct hold different modalities",
    "mode_collapse": "lower optimizer.learning_rate or raise loss.cycle",
}

PERFECT_DISCRIMINATOR, LOST_GENERATOR = 0.04, 0.85
"""Least-squares losses of a discriminator that always wins (0.25 where it guesses) and of the generator against it.
Healthy runs on heads and phantoms have 0.11 to 0.48 and 0.29 to 0.66; against a generator that is stuck they reach
0.01 to 0.03 and 0.9 to 1.0 within a hundred steps."""
EXPLODED = 1e3
"""Loss of a discriminator, or of a generator against it, above which a training has diverged. On phantoms it stays
below 1; with a learning rate of 1e3 it reaches 8e9 in 50 steps."""
DEAD_NORM = 1e-6
"""Norm of the generators' gradient; it lies between 0.1 and 20 in healthy runs."""
BLANK_SHARE = 0.5
"""Share of blank slices in the batches above which a warning is due."""
BLANK_BODY, BLANK_SPREAD = 0.01, 0.01
"""A slice with less body than this share of its pixels, or with grey values less spread, is blank."""
INVERTED = -0.1
"""Correlation in the body of the synthetic CT with what real CTs show at the same depth; healthy ones are above 0."""
SAME = 0.98
"""Correlation of input and translation in the body above which the translation is a copy."""
COLLAPSED = 0.1
"""Variation of the translations from case to case, over that of real CTs, below which they are one picture."""


@dataclass(frozen=True)
class Alarm:
    """A failure that lasts."""

    name: str
    step: int
    since: int
    """Step of the first check that found it."""
    message: str


class Monitor:
    """Counts the checks in a row that found each failure."""

    def __init__(self) -> None:
        self.found: dict[str, list[int]] = {}

    def check(self, step: int, findings: Mapping[str, str | None]) -> list[Alarm]:
        """Alarms that begin at this check.

        Args:
            step: of the check.
            findings: the finding for each failure that was checked; None if it was not found.
        """
        alarms = []
        for name, finding in findings.items():
            if finding is None:
                self.found.pop(name, None)
                continue
            steps = self.found.setdefault(name, [])
            steps.append(step)
            if len(steps) == LASTING[name]:
                text = f"{name} since step {steps[0]}: {finding}; {CURES[name]}"
                alarms.append(Alarm(name, step, steps[0], text))
        return alarms

    def lasting(self, names: Iterable[str]) -> dict[str, float]:
        """For how many checks in a row each failure has been found, as ``watchdog/NAME``; 0 where all is well."""
        return {f"watchdog/{name}": float(len(self.found.get(name, ()))) for name in names}

    def state_dict(self) -> dict[str, Any]:
        """Plain types from which :meth:`load_state_dict` continues."""
        return {"found": {name: list(steps) for name, steps in self.found.items()}}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continue where ``saved`` was taken."""
        self.found = {name: list(steps) for name, steps in saved["found"].items()}


def blank_share(batch: Batch) -> Tensor:
    """Share of a batch's blank slices, a number on its device."""
    return torch.stack([_blank(batch.real_mr, batch.mr_mask), _blank(batch.real_ct, batch.ct_mask)]).mean()


def training_findings(figures: Mapping[str, float]) -> dict[str, str | None]:
    """Findings from the mean figures of a log interval."""
    saturated = [
        f"the {name.upper()} discriminator recognises every fake (loss {figures[f'discriminator_{name}']:.3f})"
        for name in ("ct", "mr")
        if f"discriminator_{name}" in figures  # objective paired has none; there L1 leads the generator
        and figures[f"discriminator_{name}"] < PERFECT_DISCRIMINATOR
        and figures[f"adversarial_{name}"] > LOST_GENERATOR
    ]
    losses = {name: each for name, each in figures.items() if name.startswith(("adversarial", "discriminator"))}
    worst = max(losses, key=losses.__getitem__, default="")
    norm, blank = figures["gradient_norm_generators"], figures["blank_slices"]
    return {
        "exploded_loss": f"{worst} is {losses[worst]:.1e}" if worst and losses[worst] > EXPLODED else None,
        "discriminator_saturation": " and ".join(saturated) or None,
        "dead_gradients": f"the generators' gradient is {norm:.1e}" if norm < DEAD_NORM else None,
        "blank_batches": f"{100 * blank:.0f} % of the slices show nothing" if blank > BLANK_SHARE else None,
    }


def validation_figures(
    batch: Batch, images: Translations, sct: Slabs, real: RealCT, window_hu: tuple[float, float]
) -> dict[str, float]:
    """Figures from which a validation's findings follow.

    Returns:
        ``structure``: correlation in the body of the synthetic CT with the mean real CT at the same depth, -1 to 1.
        ``inversion``: distance to real CTs over the distance of the inverted picture; above 1 the latter is nearer.
        ``likeness_ct`` and ``likeness_mr``: correlation in the body of input and translation, -1 to 1.
        ``variety``: variation of the synthetic CT from case to case over that of the real CTs.
    """
    inverted = Slabs(sum(window_hu) - sct.values, sct.mask)
    distances = [depth_histogram_distance(profile(each, window_hu), real, window_hu) for each in (sct, inverted)]
    return {
        "structure": _correlation(expected_by_depth(sct, real), sct.values, sct.mask),
        "inversion": distances[0] / max(distances[1], 1e-6),
        "likeness_ct": _alike(batch.real_mr, images.fake_ct, batch.mr_mask),
        "likeness_mr": _alike(batch.real_ct, images.fake_mr, batch.ct_mask),
        "variety": _spread(images.fake_ct, batch.mr_mask) / max(_spread(batch.real_ct, batch.ct_mask), 1e-6),
    }


def validation_findings(figures: Mapping[str, float]) -> dict[str, str | None]:
    """Findings from :func:`validation_figures`."""
    inverted = figures["structure"] < INVERTED and figures["inversion"] > 1
    copies = [name for name in ("ct", "mr") if figures[f"likeness_{name}"] > SAME]
    return {
        "contrast_inversion": (
            f"bright and dark are exchanged (correlation {figures['structure']:.2f} with real CTs at the same depth)"
            if inverted
            else None
        ),
        "identity": f"synthetic {' and '.join(copies).upper()} copies its input" if copies else None,
        "mode_collapse": (
            f"different MR give nearly one synthetic CT (variety {figures['variety']:.2f} of real CTs')"
            if figures["variety"] < COLLAPSED
            else None
        ),
    }


def _blank(images: Tensor, mask: Tensor) -> Tensor:
    images = images.unflatten(1, (mask.shape[1], -1))[:, :, 0]  # the first of several contrasts
    size = mask.flatten(1).sum(dim=1)
    inside = torch.where(mask, images, 0).flatten(1)
    mean = inside.sum(dim=1) / size.clamp(min=1)
    spread = (
        torch.where(mask, images - mean[:, None, None, None], 0).flatten(1).square().sum(1) / size.clamp(min=1)
    ).sqrt()
    return ((size < BLANK_BODY * mask[0].numel()) | (spread < BLANK_SPREAD)).float().mean()


def _alike(one: Tensor, other: Tensor, mask: Tensor) -> float:
    return _correlation(one.numpy(), other.numpy(), mask.numpy())


def _correlation(one: np.ndarray, other: np.ndarray, mask: np.ndarray) -> float:
    one, other = one[mask].astype(np.float64), other[mask].astype(np.float64)
    spread = one.std() * other.std() if len(one) else 0.0
    return float(((one - one.mean()) * (other - other.mean())).mean() / spread) if spread > 1e-12 else 0.0


def _spread(images: Tensor, mask: Tensor) -> float:
    """Mean standard deviation over the images, pixel by pixel where at least half of them show the body."""
    shown = mask.float().mean(dim=0) >= 0.5
    inside = torch.where(mask, images, torch.nan).numpy()[:, shown.numpy()]
    return float(np.nanstd(inside, axis=0).mean()) if inside.size else 0.0
