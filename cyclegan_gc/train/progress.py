"""The progress of a training as files that need no service: RUN/progress.png and RUN/index.html."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cyclegan_gc.atomic import atomic_write, write_text
from cyclegan_gc.pictures.pages import address, bullets, element, figure, page, section, table
from cyclegan_gc.pictures.sheets import drawn, png_of
from cyclegan_gc.tracking import Line, wandb_key

PLOT, PAGE = "progress.png", "index.html"
SIZE_INCHES, DPI = (5.0, 9.0), 150
"""Size of the plot; its letters can be read where a phone shows it 370 pixels wide."""
GUESSING = 0.25
"""Least-squares loss of a discriminator that guesses."""

Curves = dict[str, tuple[list[int], list[float]]]
"""Figure, under W&B's key -> steps and values."""


def write_progress(output: Path, lines: Sequence[Line], standing: Sequence[str], panels: Mapping[str, Path]) -> None:
    """Write the plot and the page of a run; the page has no script and fetches nothing but files beside it.

    Args:
        output: run folder.
        lines: of metrics.jsonl.
        standing: sentences on step, time and score, the most important one first.
        panels: title -> picture of the newest validation, below ``output``.

    Raises:
        OSError: if the disk is full or read-only.
    """
    curves = curves_of(lines)
    with atomic_write(output / PLOT) as file:
        file.write(png_of(drawn(progress_plot(curves))))
    known = [line.get("message") or line.get("rollback") for line in lines]
    panels_shown = (figure(title, address(path.relative_to(output).as_posix())) for title, path in panels.items())
    pictures = "".join(f'<div class="scroll wide">{each}</div>' for each in panels_shown)
    newest = [("", (name, f"{values[-1]:.4g}")) for name, (_, values) in sorted(curves.items())]
    parts = [
        element("p", standing[0], "headline"),
        *(element("p", sentence) for sentence in standing[1:] if sentence),
        section("Alarms of the watchdog", bullets(list(filter(None, known)))),
        section("Curves", figure("Losses and validation", PLOT)),
        section("Pictures of the newest validation", pictures),
        section("Newest figures", table(["figure", "value"], newest)),
    ]
    write_text(output / PAGE, page("Training", parts))


def curves_of(lines: Sequence[Line]) -> Curves:
    """The finite values of each figure in the lines of metrics.jsonl."""
    curves: Curves = {}
    for line in lines:
        for name, value in line.items():
            if name not in ("step", "time") and isinstance(value, int | float):
                steps, values = curves.setdefault(wandb_key(name), ([], []))
                steps.append(line["step"])
                values.append(value)
    return curves


def progress_plot(curves: Curves) -> Figure:
    """Losses of the generators and of the discriminators, and the score of the validations, over the steps."""
    plot = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    losses, discriminators, score = plot.subplots(3, 1, sharex=True)
    _draw(losses, "losses of the generators, unweighted; their weighted sum", _of(curves, "loss/"))
    losses.set_yscale("log")
    judging = {name: each for name, each in _of(curves, "discriminator/").items() if "_on_" not in name}
    if "discriminator/ct" in judging:
        discriminators.axhline(GUESSING, color="0.6", linestyle=":", label="guessing")
    _draw(discriminators, "losses of the discriminators", judging)
    _draw(score, "score of the validations, lower is better", _of(curves, "validation/score"), marker="o")
    score.set_xlabel("step")
    return plot


def _of(curves: Curves, group: str) -> Curves:
    return {name: curve for name, curve in sorted(curves.items()) if name.startswith(group)}


def _draw(axes: Axes, title: str, curves: Curves, marker: str = "") -> None:
    """Curves with their legend; those of both modalities have one colour, the MR's is dashed."""
    colours: dict[str, str] = {}
    for name, (steps, values) in curves.items():
        label = name.rpartition("/")[2]
        term, _, modality = label.rpartition("_") if label.endswith(("_ct", "_mr")) else (label, "", "")
        colour = colours.setdefault(term, f"C{len(colours)}")
        axes.plot(
            steps, values, "--" if modality == "mr" else "-", color=colour, linewidth=1, marker=marker, label=label
        )
    axes.set_title(title, fontsize=10, loc="left")
    axes.grid(alpha=0.3)
    if len(axes.lines) > 1:
        axes.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.03), frameon=False)
