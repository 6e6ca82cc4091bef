"""Registered pairs, an MR and the CT of the same person on one grid: found, checked and prepared together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.data.subjects import subjects_of
from cyclegan_gc.errors import UserError, VolumeError, named
from cyclegan_gc.formats.files import named_path
from cyclegan_gc.formats.geometry import same_grid
from cyclegan_gc.formats.names import places_of
from cyclegan_gc.formats.selection import check_apart, find_both, is_called, names_of
from cyclegan_gc.formats.sources import Source, source_grid
from cyclegan_gc.formats.volumes import Volume
from cyclegan_gc.prepare.modality import check_values
from cyclegan_gc.prepare.preprocess import Prepared, load_volume, normalise_ct, prepare


@dataclass(frozen=True)
class Pair:
    """The MR and the CT of a pair, found but not read."""

    name: str
    subject: str
    mr: Source
    """The MR, or its contrasts."""
    ct: Source

    @property
    def sources(self) -> tuple[Source, Source]:
        """The MR and the CT."""
        return self.mr, self.ct


def find_pairs(
    folder: str | Path,
    setting: str,
    contrasts: Sequence[str] = (),
    mr_series: str | None = None,
    ct_series: str | None = None,
) -> list[Pair]:
    """The pairs of a folder, in the order of the MR; headers must give one grid for each pair.

    The MRs are in its subfolder ``mr`` and the CTs in ``ct``, or both are anywhere below it and told apart by modality
    or name (a DICOM export, SynthRAD, BIDS). They belong together by PatientID, name or folder
    (:mod:`cyclegan_gc.formats.names`).

    Args:
        folder: searched recursively.
        setting: option that names the folder, for messages.
        contrasts: endings of the names of an MR's files; empty for a single file.
        mr_series: pattern of the wanted MR series; None for all.
        ct_series: pattern of the wanted CT series; None for all.

    Raises:
        UserError: if the folder holds no volumes, a volume has no or several partners, or a pair is not on one grid.
        VolumeError: if a header cannot be read.
    """
    mr_root, ct_root = _sides(named_path(folder))
    (mrs, _), (cts, _) = find_both(str(mr_root), str(ct_root), contrasts)
    mrs, cts = _named(mrs, mr_series), _named(cts, ct_series)
    check_apart(mrs, cts, f"put them into mr/ and ct/ of {setting}")
    mr_names, ct_names = names_of(mrs), names_of(cts)
    pairs: list[Pair] = []
    for mr, name, subject in zip(mrs, mr_names, subjects_of(mrs), strict=True):
        ct = _only([cts[place] for place in places_of(name, ct_names)], mr, "CT", setting)
        if not same_grid(*source_grid(mr), *source_grid(ct)):
            raise UserError(f"{ct.path}: not on the grid of its MR; resample it, or take it out of {setting}")
        pairs.append(Pair(name.id, subject, mr, ct))
    for ct in cts:
        _only([pair.mr for pair in pairs if pair.ct is ct], ct, "MR", setting)
    return pairs


def read_pair(mr: Source, ct: Source) -> Volume:
    """An MR with all its contrasts and, as a further contrast, its CT, their values checked.

    Raises:
        VolumeError: if a volume cannot be used, or the grids differ; one line with the file's name.
    """
    volume, other = (load_volume(source.readable_files(), frames=source.frames) for source in (mr, ct))
    if not same_grid(other.array.shape, other.affine, volume.array.shape, volume.affine):
        raise VolumeError(f"{ct.path}: not on the grid of its MR; resample it to the MR")
    with named(mr.path):
        for array in volume.contrasts:
            check_values(array, "mr")
    with named(ct.path):
        check_values(other.array, "ct")
    warnings = (*volume.warnings, *(f"CT: {note}" for note in other.warnings))
    return replace(volume, further=(*volume.further, other.array), warnings=warnings)


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


def _sides(root: Path) -> tuple[Path, Path]:
    """The folders of the MRs and of the CTs: ``mr`` and ``ct`` in any case, or ``root`` for both."""
    folders = {path.name.lower(): path for path in root.iterdir()} if root.is_dir() else {}
    if not {"mr", "ct"} & folders.keys():
        return root, root
    return folders.get("mr", root / "mr"), folders.get("ct", root / "ct")


def _named(cases: Sequence[Source], pattern: str | None) -> Sequence[Source]:
    """The cases that a pattern names; all of a folder of files if it names none, because it is meant for the others."""
    chosen = [case for case in cases if pattern is None or is_called(case, pattern)]
    return chosen if chosen or any(case.series for case in cases) else cases


def _only(partners: Sequence[Source], case: Source, kind: str, setting: str) -> Source:
    """The only partner of a case."""
    if len(partners) == 1:
        return partners[0]
    found = f"{len(partners)} {kind}s" if partners else f"no {kind}"
    raise UserError(f"{case.path}: {found} of its PatientID, name or folder in {setting}; give it exactly one")
