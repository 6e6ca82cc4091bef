"""Registered pairs, an MR and the CT of the same person on one grid: found, checked and prepared together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.data.subjects import subjects_of
from cyclegan_gc.errors import UserError, VolumeError, named, plain
from cyclegan_gc.formats.files import named_path
from cyclegan_gc.formats.geometry import same_grid
from cyclegan_gc.formats.names import places_of
from cyclegan_gc.formats.selection import Chosen, check_apart, find_both, is_called, names_of, of_series
from cyclegan_gc.formats.sources import LeftOut, Source, source_grid
from cyclegan_gc.formats.volumes import Volume
from cyclegan_gc.prepare.modality import check_values, check_volume
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
) -> tuple[list[Pair], list[LeftOut]]:
    """The pairs of a folder, in the order of the MR, and everything else in it; headers must give one grid for a pair.

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
        UserError: if the folder holds no volumes or no series of a given name, a volume has no or several partners, or
            a pair is not on one grid.
        VolumeError: if a header cannot be read.
    """
    mr_root, ct_root = _sides(named_path(folder))
    (mrs, no_mrs), (cts, no_cts) = find_both(str(mr_root), str(ct_root), contrasts)
    mrs, other_mrs = _named(mrs, mr_series, mr_root, "--data.mr_series")
    cts, other_cts = _named(cts, ct_series, ct_root, "--data.ct_series")
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
    left_out = [*no_mrs, *no_cts, *other_mrs, *other_cts]
    if mr_root == ct_root:  # what is no MR may be a CT, and so on
        used = {label for case in (*mrs, *cts) for label in _labels(case)}
        left_out = list({each.label: each for each in left_out if each.label not in used}.values())
    return pairs, left_out


def read_pair(mr: Source, ct: Source) -> Volume:
    """An MR with all its contrasts and, as a further contrast, its CT, their values checked.

    Raises:
        VolumeError: if a volume cannot be used, or the grids differ; one line with the file's name.
    """
    volume, other = (load_volume(source.readable_files(), frames=source.frames) for source in (mr, ct))
    if not same_grid(other.array.shape, other.affine, volume.array.shape, volume.affine):
        raise VolumeError(f"{ct.path}: not on the grid of its MR; resample it to the MR")
    with named(mr.path):
        check_volume(volume, "mr")
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


def _named(cases: list[Source], pattern: str | None, folder: Path, option: str) -> Chosen:
    """As :func:`of_series`; a pattern that fits no file of a folder without series is meant for other folders."""
    if pattern is not None and not any(case.series or is_called(case, pattern) for case in cases):
        pattern = None
    return of_series(cases, pattern, str(folder), option)


def _labels(case: Source) -> set[str]:
    """The labels of a case and of its files."""
    return {case.label, *(plain((case.below / path.name).as_posix()) for path in case.files)}


def _only(partners: Sequence[Source], case: Source, kind: str, setting: str) -> Source:
    """The only partner of a case."""
    if len(partners) == 1:
        return partners[0]
    found = f"{len(partners)} {kind}s" if partners else f"no {kind}"
    raise UserError(f"{case.path}: {found} of its PatientID, name or folder in {setting}; give it exactly one")
