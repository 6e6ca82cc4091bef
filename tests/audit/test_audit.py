"""The audit as a command and at the start of a training."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cyclegan_gc.audit.audit import announce, audit, closing_line, text_table
from cyclegan_gc.audit.checks import Finding
from cyclegan_gc.config import AuditDataConfig, PreprocessConfig
from cyclegan_gc.data.cases import volumes_to_audit
from cyclegan_gc.distributed import Ranks
from cyclegan_gc.errors import UserError
from cyclegan_gc.train.loop import train


@pytest.fixture
def folders(phantoms, tmp_path) -> tuple[Path, Path]:
    """The training heads in folders of their own."""
    for modality in ("mr", "ct"):
        shutil.copytree(phantoms / modality, tmp_path / modality)
    return tmp_path / "mr", tmp_path / "ct"


@pytest.fixture
def config(small_config, folders, tmp_path):
    """A training on them."""
    mr, ct = folders
    data = replace(small_config.data, mr=str(mr), ct=str(ct), cache=tmp_path / "cache", validation_fraction=0.0)
    return replace(small_config, output=tmp_path / "run", data=data, stop_at=1)


def look(folders, tmp_path):
    mr, ct = folders
    data = AuditDataConfig(str(mr), str(ct), validation_fraction=0.0)
    return audit(volumes_to_audit(data)[0], PreprocessConfig(), ("axial",), tmp_path / "audit")


def double(folder: Path) -> Path:
    """A copy of the first volume of a folder, not compressed and in another axis order."""
    first = sorted(folder.iterdir())[0]
    image = nib.Nifti1Image.from_filename(first)
    turned = nib.as_closest_canonical(image)
    copy = folder / "again.nii"
    nib.Nifti1Image(np.asarray(turned.dataobj).astype(np.float32), turned.affine).to_filename(copy)
    return copy


def test_good_phantoms_pass_and_what_is_written_names_no_path(folders, tmp_path):
    outcome = look(folders, tmp_path)
    assert not outcome.failed and closing_line(outcome).startswith("4 volumes: 0 fail, 0 warn, 4 pass")
    report = (tmp_path / "audit" / "audit.json").read_text()
    assert str(tmp_path) not in report and json.loads(report)["level"] == "pass"
    assert json.loads(report)["cases"][0]["case"] == "head_0000.nii.gz"
    assert (tmp_path / "audit" / "audit.png").read_bytes().startswith(b"\x89PNG")


def test_a_contrast_that_cannot_be_read_is_named_without_its_folder(folders, tmp_path):
    mr, ct = folders
    for path in list(mr.iterdir()):
        path.rename(path.with_name(path.name.replace(".nii", "_T1w.nii")))
        path.with_name(path.name.replace(".nii", "_T2w.nii")).write_bytes(b"nothing of use")
    data = AuditDataConfig(str(mr), str(ct), contrasts=("_T1w", "_T2w"), validation_fraction=0.0)
    audit(volumes_to_audit(data)[0], PreprocessConfig(), ("axial",), tmp_path / "audit")
    report = (tmp_path / "audit" / "audit.json").read_text()
    assert "_T2w.nii.gz" in report and str(tmp_path) not in report


def test_the_table_begins_with_the_worst_and_a_bad_file_stops_no_other(folders, tmp_path):
    mr, ct = folders
    (mr / "broken.nii.gz").write_bytes(b"nothing of use")
    shutil.copy(sorted(ct.iterdir())[0], mr / "stray.nii.gz")
    outcome = look(folders, tmp_path)
    lines = text_table(outcome).splitlines()
    assert outcome.failed and [line.split()[0] for line in lines].count("fail") == 3  # a leak is told of the CT
    assert "look like CT" in text_table(outcome) and "ct/head_1000.nii.gz  leak" in text_table(outcome)
    assert len(outcome.cases) == 6 and (tmp_path / "audit" / "audit.png").exists()


def test_a_training_stops_before_the_first_step_where_the_audit_fails(config, folders, capsys):
    copied = sorted(folders[0].iterdir())[0]
    shutil.copy(copied, folders[0] / "sub-01_T1w.nii.gz")
    leaking = replace(config, data=replace(config.data, validation_fraction=0.3))
    with pytest.raises(UserError, match=r"^audit: mr/.*leak: the same voxels as mr/.*--audit warn"):
        train(leaking)
    assert not (config.output / "last.pt").exists()
    train(replace(leaking, audit="warn"))
    assert "warning: audit: mr/" in capsys.readouterr().err and (config.output / "last.pt").exists()


def test_a_training_warns_in_a_line_and_goes_on(config, folders, capsys):
    double(folders[0])
    train(config)
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: audit:")]
    assert warnings == [
        "warning: audit: mr/head_0000.nii.gz: duplicate: the same voxels as mr/again.nii; leave one out"
    ]


def test_the_second_start_reads_no_volume_and_says_the_same(config, folders, cases_of):
    double(folders[0])
    first = cases_of(config)
    for path in (path for folder in folders for path in folder.iterdir()):  # nothing of use is left in any file
        before = path.stat()
        path.write_bytes(b"?" * before.st_size)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cases_of(config).findings == first.findings != ()


def test_the_audit_does_not_change_what_a_checkpoint_knows_of_the_volumes(config, cases_of):
    (stack, *_) = cases_of(config).mr
    assert set(stack.statistics["case"]) == {"spacing_mm", "shape", "body_mm", "quantiles"}


def test_only_the_first_rank_speaks_and_every_rank_stops(config, folders, capsys, cases_of):
    shutil.copy(sorted(folders[0].iterdir())[0], folders[0] / "sub-01_T1w.nii.gz")
    leaking = replace(config, data=replace(config.data, validation_fraction=0.3))
    findings = [*cases_of(leaking).findings, Finding("warn", "metal", "1 ml above 3000 HU", "ct", "head")]
    for rank in (0, 1):
        with pytest.raises(UserError, match="leak"):
            announce(findings, Ranks(rank=rank), stop=True)
        assert bool(capsys.readouterr().err) == (rank == 0)


def test_many_warnings_are_cut_short(config, folders, capsys, cases_of):
    findings = [replace(each, level="warn") for each in cases_of(config).findings[:1]] * 14
    announce(findings, Ranks(), stop=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11 and lines[-1] == "warning: audit: and 4 more; cyclegan-gc audit shows all"


def test_a_name_that_is_not_utf_8_is_escaped(folders, tmp_path):
    sorted(folders[0].iterdir())[0].rename(folders[0] / os.fsdecode(b"M\xfc\x1bller.nii.gz"))
    outcome = look(folders, tmp_path)
    report = json.loads((tmp_path / "audit" / "audit.json").read_text(encoding="utf-8"))
    assert "M\\xfc\\x1bller.nii.gz" in [case["case"] for case in report["cases"]]
    assert "mr/M\\xfc\\x1bller.nii.gz" in text_table(outcome)
