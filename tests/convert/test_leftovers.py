"""What killed conversions leave, and that the next run removes it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cyclegan_gc.config import ConvertConfig
from cyclegan_gc.convert.batch import convert
from cyclegan_gc.convert.single import convert_volume

WRITE_AGAIN_AND_AGAIN = """
import sys
from pathlib import Path
import numpy as np
from cyclegan_gc.formats.dicom.ct_image import SeriesLabel
from cyclegan_gc.formats.dicom.read import read_series
from cyclegan_gc.formats.dicom.write import write_ct_series
from cyclegan_gc.formats.volumes import write_volume

files, result = sorted(Path(sys.argv[1]).iterdir()), Path(sys.argv[2])
volume = read_series(files, 10**9)
hu = volume.array.astype(np.int16)
while True:
    if result.suffix:
        write_volume(result, hu, volume)
    else:
        write_ct_series(result, hu, volume.affine, files, SeriesLabel("1", "", ""))
"""


def run(checkpoint: Path, source: Path, output: Path, **settings) -> list[str]:
    return [case.outcome for case in convert(ConvertConfig(checkpoint, str(source), output, device="cpu", **settings))]


@pytest.mark.parametrize(
    ("name", "half", "number"),
    [
        ("T1_sct", ".T1_sct.*.part/series/*", signal.SIGTERM),
        ("T1_sct.mha", ".T1_sct.mha.*.part/*.mha", signal.SIGKILL),
        ("T1_sct.nrrd", ".T1_sct.nrrd.*.part/*.nrrd", signal.SIGTERM),
    ],
)
def test_what_a_process_killed_while_it_wrote_left_is_removed_by_the_next_run(
    name, half, number, checkpoint, series, tmp_path
):
    out, words = tmp_path / "out", [sys.executable, "-c", WRITE_AGAIN_AND_AGAIN]
    out.mkdir()
    for _ in range(5):  # the process may have just finished when the signal comes
        with subprocess.Popen([*words, str(series / "T1"), str(out / name)]) as process:
            deadline = time.monotonic() + 120
            while not list(out.glob(half)) and time.monotonic() < deadline:
                time.sleep(0.002)
            process.send_signal(number)
        if left := list(out.glob(half)):
            break
    assert left
    assert run(checkpoint, series, out, format=Path(name).suffix.strip(".") or "dicom") == ["converted"]
    assert not list(out.glob(".*"))


def test_leftovers_of_cases_that_are_finished_and_of_the_batch_are_removed_too(checkpoint, folder, tmp_path):
    out = tmp_path / "out"
    (folder / "deep").mkdir()
    shutil.copy(folder / "a.nii.gz", folder / "deep" / "b.nii.gz")
    assert run(checkpoint, folder, out) == ["converted"] * 2
    left = [out / f".{name}.0123456789ab.part" for name in ("manifest.json", "index.html", "a_sct.png", "a_sct")]
    left.append(out / "deep" / ".b_sct.nii.gz.0123456789ab.part")
    for path in left:
        path.mkdir()
        os.utime(path, (0, 0))
    assert run(checkpoint, folder, out) == ["skipped"] * 2
    assert not list(out.rglob(".*"))
    left[0].mkdir()
    os.utime(left[0], (0, 0))
    convert_volume(checkpoint, folder / "a.nii.gz", out / "c_sct.nii.gz", device="cpu")
    assert not list(out.rglob(".*"))


def test_nothing_is_removed_outside_the_output_through_a_link(checkpoint, folder, tmp_path):
    others = tmp_path / "others" / ".b_sct.nii.gz.0123456789ab.part"
    others.mkdir(parents=True)
    os.utime(others, (0, 0))
    (folder / "deep").mkdir()
    shutil.copy(folder / "a.nii.gz", folder / "deep" / "b.nii.gz")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deep").symlink_to(others.parent)
    assert run(checkpoint, folder, tmp_path / "out") == ["converted", "failed"]
    assert others.exists()
