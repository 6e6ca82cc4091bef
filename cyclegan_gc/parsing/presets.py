"""The presets that travel with the package: `--config head` names a file of configs/."""

import itertools
from collections.abc import Sequence
from pathlib import Path

PRESETS = Path(__file__).parents[1] / "presets"
"""A link to configs/ in a clone; a folder in an installed package."""
NO_PRESET = "sweep"
"""A file of configs/ for Weights & Biases, which no command of ours reads."""
CONFIG_HELP = "YAML file of settings, or the name of a preset: head, hip, pelvis or phantom. Options override it."


def with_preset_files(words: Sequence[str]) -> list[str]:
    """Words with the file of a preset for its name after ``--config``; a file of that name comes first."""
    files = {path.stem: str(path) for path in PRESETS.glob("*.yaml") if path.stem != NO_PRESET}
    return [
        files.get(word, word) if before == "--config" and not Path(word).is_file() else word
        for before, word in itertools.pairwise(["", *words])
    ]
