"""Make label maps with TotalSegmentator, if it is installed: run as a separate program, once for each volume."""

import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.evaluate.matching import CaseFiles
from cyclegan_gc.formats.content import bytes_hash
from cyclegan_gc.formats.files import NIFTI
from cyclegan_gc.formats.sources import Source, read_files, source_of
from cyclegan_gc.formats.volumes import MAX_VOXELS, read_labels, write_volume

PROGRAM = "TotalSegmentator"
OPTIONS = ("--ml", "--fast", "--quiet")
"""One map of all labels, by the 3 mm model that SynthRAD2025 scores with."""
HASH_LETTERS = 16


def find_segmenter() -> Path:
    """The installed program.

    Raises:
        UserError: if it is not on the PATH.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise UserError(
            f"--segment totalsegmentator: {PROGRAM} is not installed; pip install TotalSegmentator, "
            "or give --labels and --predicted_labels instead"
        )
    return Path(program)


def with_label_maps(files: CaseFiles, program: Path, folder: Path) -> CaseFiles:
    """Add a label map of every CT to the case; a map that ``folder`` holds for the same content is used again.

    Raises:
        VolumeError: if the program fails on a volume.
    """
    return replace(
        files,
        labels=_label_map(files.ct, program, folder),
        sct_labels=_label_map(files.sct, program, folder),
        compared_labels={method: _label_map(each, program, folder) for method, each in files.compared.items()},
    )


def _label_map(ct: Source, program: Path, folder: Path) -> Source:
    made = folder / f"{ct.name}_{bytes_hash(ct.readable_files())[:HASH_LETTERS]}.nii.gz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not made.exists():
            with tempfile.TemporaryDirectory(prefix=".", dir=folder) as name:
                _segment(ct, program, Path(name)).replace(made)
        return source_of(made)
    except OSError as error:
        raise VolumeError(
            f"{folder}: label maps cannot be written ({error.strerror}); free or choose a disk"
        ) from error


def _segment(ct: Source, program: Path, folder: Path) -> Path:
    """Run the program on a volume; the label map lies in ``folder`` and can be read."""
    source, result = ct.path, folder / "labels.nii.gz"
    if ct.series is not None or not source.name.lower().endswith(NIFTI):
        source, read = folder / "volume.nii.gz", read_files(ct.readable_files(), MAX_VOXELS, ct.frames)
        write_volume(source, read.array, read)
    call = [str(program), "-i", str(source), "-o", str(result), *OPTIONS]
    try:
        ended = subprocess.run(call, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise VolumeError(f"{program}: cannot be run ({error.strerror}); install {PROGRAM} again") from error
    if ended.returncode or not result.is_file():
        said = (ended.stderr or ended.stdout).strip().splitlines()
        cause = said[-1] if said else f"exit code {ended.returncode}"
        raise VolumeError(f"{ct.path}: {PROGRAM} made no label map ({cause}); run it by hand to see why")
    read_labels(result)
    return result
