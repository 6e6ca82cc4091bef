"""A patient's name is planted wherever one can be, and searched for in every byte of W&B's files and checkpoints."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

PLANTED = ("DOE^JOHN", "19700101", "MRN0042")
NAME = "DOE^JOHN_19700101_MRN0042"
PROGRAM = """
import json, sys
from cyclegan_gc.cli import main

for words in json.loads(sys.argv[1]):
    sys.argv = ["cyclegan-gc", *words]
    if code := main(words):
        sys.exit(code)
"""
SMALL = {
    "data.crop": "[32, 24]",
    "steps": "6",
    "log_every": "2",
    "validate_every": "3",
    "device": "cpu",
    "preprocess.spacing_mm": "6.0",
    "network.width": "4",
    "network.blocks": "1",
    "network.discriminator_width": "4",
    "network.discriminator_layers": "1",
    "wandb.mode": "offline",
    "wandb.images": "true",
}
FOLDERS = ("run", "sct", "sct_dicom", "evaluation")
WITHOUT_PICTURES = ("sct_default", "evaluation_default")


@pytest.fixture(scope="module")
def studies(phantoms, tmp_path_factory, slices_of, write_series) -> Path:
    """Volumes of a patient whose name is in folders, file names, NIfTI headers and a DICOM series."""
    folder = tmp_path_factory.mktemp("studies") / NAME
    for source in sorted(phantoms.rglob("*.nii*")):
        place = folder / source.relative_to(phantoms).parent / f"{NAME}_{source.name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        image: Any = nib.load(source)
        image.header["descrip"], image.header["aux_file"], image.header["db_name"] = NAME, PLANTED[0], PLANTED[2]
        nib.save(image, place)
    head: Any = nib.load(next((phantoms / "test" / "mr").iterdir()))
    pixels = head.get_fdata()[::2, ::2, ::2].astype(np.int16)
    series = list(slices_of(pixels))
    for dataset in series:
        dataset.PatientName, dataset.PatientBirthDate, dataset.PatientID = PLANTED
    write_series(folder / "dicom" / NAME, series)
    return folder


@pytest.fixture(scope="module")
def tracked(studies, tmp_path_factory) -> Path:
    """A training, conversions and evaluations, tracked offline with pictures and without, below a nameless folder."""
    root = tmp_path_factory.mktemp("tracked")
    names = dict.fromkeys(("USER", "LOGNAME", "HOSTNAME", "PATIENT", "WANDB_NAME", "WANDB_NOTES"), NAME)
    names |= dict.fromkeys(("WANDB_TAGS", "WANDB_USERNAME", "WANDB_USER_EMAIL", "WANDB_HOST", "WANDB_DIR"), NAME)
    environment = {**os.environ, **names, "HOME": str(root / "home"), "OMP_NUM_THREADS": "1"}
    pairs = ["--data.validation_pairs", str(studies / "test")]
    train = [*pairs, *(word for name, value in SMALL.items() for word in (f"--{name}", value))]
    data = ["--data.mr", str(studies / "mr"), "--data.ct", str(studies / "ct"), "--output", str(root / "run")]
    default = ["--checkpoint", str(root / "run" / "last.pt"), "--wandb.mode", "offline"]
    weights = [*default, "--wandb.images", "true"]
    mr, ct = str(studies / "test" / "mr"), str(studies / "test" / "ct")
    judged = ["--predicted", str(root / "sct"), "--reference", ct, "--mr", mr, "--output"]
    commands = [
        ["train", *data, *train],
        ["convert", mr, str(root / "sct"), *weights],
        ["convert", str(studies / "dicom"), str(root / "sct_dicom"), *weights],
        ["evaluate", *judged, str(root / "evaluation"), *weights],
        ["convert", mr, str(root / "sct_default"), *default],
        ["evaluate", *judged, str(root / "evaluation_default"), *default],
    ]
    call = [sys.executable, "-c", PROGRAM, json.dumps(commands)]
    result = subprocess.run(call, env=environment, capture_output=True, text=True, cwd=studies)
    assert result.returncode == 0, result.stderr
    return root


def sent_files(root: Path) -> list[Path]:
    """All files that W&B wrote, and the checkpoints: the files that may leave a run folder."""
    return [file for file in root.rglob("*") if file.is_file() and ("wandb" in file.parts or file.suffix == ".pt")]


def hits(files: list[Path], word: str) -> list[Path]:
    return [file for file in files if word.encode() in file.read_bytes() or word in str(file)]


@pytest.mark.parametrize("word", PLANTED)
def test_no_byte_that_wandb_wrote_and_no_checkpoint_holds_the_name(tracked, word):
    files = sent_files(tracked)
    assert {file.suffix for file in files} >= {".wandb", ".log", ".json", ".png", ".pt"}
    assert hits(files, word) == []


def test_the_search_finds_words_that_are_there(tracked):
    """It finds the names in the pseudonyms' key, which stays in the run folder, and other words in the records."""
    kept = [tracked / folder / "pseudonyms.json" for folder in (*FOLDERS, *WITHOUT_PICTURES)]
    for word in PLANTED:
        assert hits(kept, word) == kept
    records = [file for file in sent_files(tracked) if file.suffix == ".wandb"]
    assert hits(records, "cycle_mr") and hits(records, "case-") and len(records) == 6


def test_neither_argv_nor_host_nor_source_paths_are_recorded(tracked, studies, offline_runs):
    records = [file for file in sent_files(tracked) if file.suffix == ".wandb"]
    for word in (str(studies), "--data.mr", "last.pt"):
        assert hits(records, word) == [], word
    runs = [run for folder in (*FOLDERS, *WITHOUT_PICTURES) for run in offline_runs(tracked / folder)]
    assert {run.of("run")[0].host for run in runs} == {"redacted"}
    assert [file for file in (tracked / "home").rglob("*") if "wandb" in str(file.relative_to(tracked))] == []


def test_conversions_and_evaluations_keep_their_pictures_out_of_wandb_by_default(tracked, offline_runs, wandb_pictures):
    for folder in FOLDERS:
        assert wandb_pictures(tracked / folder), folder
    for folder, table in zip(WITHOUT_PICTURES, ("cases/converted", "cases/evaluated"), strict=True):
        assert wandb_pictures(tracked / folder) == []
        [default], [whole] = offline_runs(tracked / folder), offline_runs(tracked / folder.removesuffix("_default"))
        columns = [
            next(line[f"{table}/ncols"] for line in run.history if f"{table}/ncols" in line) for run in (default, whole)
        ]
        assert columns[0] == columns[1] - 1


def test_the_three_kinds_of_runs_hold_their_tables_and_point_to_the_model(tracked, offline_runs):
    [training], [conversion], [evaluation] = (offline_runs(tracked / name) for name in ("run", "sct", "evaluation"))
    kinds = [run.of("run")[0].job_type for run in (training, conversion, evaluation)]
    assert kinds == ["train", "convert", "evaluate"] and training.exit_codes == [0]
    model = next(each for each in training.of("artifact") if each.type == "model")
    [used] = conversion.config["trained_by"]
    assert used["artifact"] == f"{model.name}:step-6" and f'"checkpoint_sha256":"{used["sha256"]}"' in model.metadata
    assert evaluation.config["models"] == [used["sha256"]]
    assert any("cases/converted/nrows" in line for line in conversion.history)
    assert any("cases/evaluated/nrows" in line for line in evaluation.history)
    assert conversion.summary["converted"] == 1 and evaluation.summary["mae/sct"] > 0
