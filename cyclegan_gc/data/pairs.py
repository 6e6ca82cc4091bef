"""Registered pairs, an MR and the CT of the same person on one grid: found, checked and prepared together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.formats.files import case_id, find_cases, find_volumes
from cyclegan_gc.formats.geometry import same_grid
from cyclegan_gc.formats.volumes import Volume, volume_grid
from cyclegan_gc.prepare.modality import check_values
from cyclegan_gc.prepare.preprocess import Prepared, normalise_ct, prepare


@dataclass(frozen=True)
class Pair:
    """The files of a pair."""

    name: str
    """File name of both, without the suffix."""
    mr: tuple[Path, ...]
    """The MR, or its contrasts."""
    ct: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, the CT last."""
        return (*self.mr, self.ct)


def find_pairs(folder: str | Path, contrasts: Sequence[str], setting: str) -> list[Pair]:
    """The pairs of a folder with ``mr`` and ``ct``, in the order of the MR; headers must give one grid for each pair.

    Args:
        folder: searched recursively.
        contrasts: endings of the names of an MR's files; empty for a single file.
        setting: option that names the folder, for messages.

    Raises:
        UserError: if the folder holds no volumes, a name has no partner or occurs twice, or a pair is not on one grid.
        VolumeError: if a header cannot be read.
    """
    root = Path(folder).expanduser()
    cts = _by_name({path: (path,) for path in find_volumes(root / "ct")}, setting)
    mrs = _by_name(find_cases(root / "mr", contrasts)[0], setting)
    _check_names(mrs, cts, "CT", setting)
    pairs = [Pair(name, paths, cts[name][0]) for name, paths in mrs.items()]
    for pair in pairs:
        if not same_grid(*volume_grid(pair.mr[0]), *volume_grid(pair.ct)):
            raise UserError(f"{pair.ct}: not on the grid of its MR; resample it, or take it out of {setting}")
    _check_names(cts, mrs, "MR", setting)
    return pairs


def check_pair(volume: Volume) -> None:
    """Check that the values of a pair are those of an MR and, in the last contrast, of a CT.

    Raises:
        VolumeError: if not (without a file name; the caller adds it).
    """
    for array in volume.contrasts[:-1]:
        check_values(array, "mr")
    try:
        check_values(volume.contrasts[-1], "ct")
    except VolumeError as error:
        raise VolumeError(f"its CT: {error}") from None


def prepare_pair(volume: Volume, settings: PreprocessConfig) -> Prepared:
    """A pair as the networks see it: the MR's contrasts and, last, the CT, all inside the MR's body.

    The MR's outline is used for both because it is the only one at conversion. The CT is the volume's last contrast.

    Raises:
        VolumeError: if no body is found in the MR (without a file name; the caller adds it).
    """
    mr = prepare(replace(volume, further=volume.further[:-1]), "mr", settings)
    ct = normalise_ct(replace(volume, array=volume.further[-1], further=()), mr.mask, settings)
    both: Any = torch.cat([mr.image, ct])  # keeps the frame of its first part
    return Prepared(both, mr.mask)


def _check_names(cases: Mapping[str, tuple[Path, ...]], others: Mapping[str, Any], kind: str, setting: str) -> None:
    """Check that each case has a partner of the same name."""
    alone = next((name for name in cases if name not in others), None)
    if alone is not None:
        raise UserError(
            f"{cases[alone][0]}: no {kind} named {alone} beside it; {setting} needs mr/ and ct/ of equal names"
        )


def _by_name(cases: Mapping[Path, tuple[Path, ...]], setting: str) -> dict[str, tuple[Path, ...]]:
    named: dict[str, tuple[Path, ...]] = {}
    for case, paths in cases.items():
        if case_id(case) in named:
            raise UserError(f"{paths[0]}: a second file of this name; {setting} needs each name once in mr/ and in ct/")
        named[case_id(case)] = paths
    return named
