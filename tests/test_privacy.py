"""A patient's name is planted wherever one can be, and searched for in every byte of W&B's files and checkpoints.

Only the variables whose purpose is to name a run are free of it: what they hold is in the run on purpose.
"""

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
GIVEN = {
    "WANDB_NAME": "a run's name",
    "WANDB_TAGS": "first, second",
    "WANDB_NOTES": "a note",
    "WANDB_PROJECT": "a-project",
    "WANDB_ENTITY": "a-team",
    "WANDB_RUN_GROUP": "a-group",
}
HIDDEN = (
    *("USER", "LOGNAME", "HOSTNAME", "PATIENT", "WANDB_USERNAME", "WANDB_USER_EMAIL", "WANDB_HOST", "WANDB_DIR"),
    *("WANDB_DESCRIPTION", "WANDB_PROGRAM", "WANDB_ARGS", "WANDB_JOB_TYPE", "WANDB_DOCKER", "WANDB_ORGANIZATION"),
    *("WANDB_GIT_REMOTE_URL", "WANDB_GIT_COMMIT", "WANDB_NOTEBOOK_NAME", "WANDB_CONFIG_PATHS", "WANDB_X_LABEL"),
)
"""Variables that may hold anything."""
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
    names = dict.fromkeys(HIDDEN, NAME)
    environment = {**os.environ, **names, **GIVEN, "HOME": str(root / "home"), "OMP_NUM_THREADS": "1"}
    pairs = ["--data.validation_pairs", str(studies / "test")]
    train = [*pairs, *(word for name, value in SMALL.items() for word in (f"--{name}", value))]
    data = ["--data.mr", str(studies / "mr"), "--data.ct", str(studies / "ct"), "--output", str(root / "run")]
    default = ["--checkpoint", str(root / "run" / "last.pt"), "--wandb.mode", "offline"]
    weights = [*default, "--wandb.images", "true"]
    unnamed = [*default, "--wandb.name", "another name", "--wandb.tags", "third", "--wandb.system", "false"]
    mr, ct = str(studies / "test" / "mr"), str(studies / "test" / "ct")
    judged = ["--predicted", str(root / "sct"), "--reference", ct, "--mr", mr, "--output"]
    commands = [
        ["train", *data, *train],
        ["convert", mr, str(root / "sct"), *weights],
        ["convert", str(studies / "dicom"), str(root / "sct_dicom"), *weights],
        ["evaluate", *judged, str(root / "evaluation"), *weights],
        ["convert", mr, str(root / "sct_default"), *unnamed],
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
    for folder, table in zip(WITHOUT_PICTURES, ("conversion/cases", "evaluation/cases"), strict=True):
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
    assert evaluation.config["artifacts"] == [used["artifact"]]
    assert {run.config["model"] for run in (training, conversion, evaluation)} == {model.name}
    [converted], [evaluated] = conversion.history, evaluation.history
    assert converted["conversion/cases/nrows"] == 1 and converted["conversion/converted"] == 1
    assert converted["conversion/gc"] < 1
    assert evaluated["evaluation/cases/nrows"] > 1 and evaluated["evaluation/mae"] > 0 < evaluated["constant/mae"]
    assert evaluated["evaluation/agreement/caption"].startswith("Agreement")


def test_a_run_is_named_as_the_user_says_and_an_option_wins_over_a_variable(tracked, offline_runs):
    known = {folder: offline_runs(tracked / folder)[0].of("run")[0] for folder in ("run", "evaluation", "sct_default")}
    training, evaluation, conversion = known.values()
    for run in (training, evaluation):
        assert (run.display_name, run.notes, list(run.tags)) == ("a run's name", "a note", ["first", "second"])
    assert (conversion.display_name, list(conversion.tags)) == ("another name", ["third"])
    assert {(run.entity, run.project, run.run_group) for run in known.values()} == {("a-team", "a-project", "a-group")}


def test_curves_of_the_machine_hold_no_path_and_can_be_left_out(tracked, offline_runs):
    [training], [conversion] = offline_runs(tracked / "run"), offline_runs(tracked / "sct_default")
    curves = {item.key for sample in training.of("stats") for item in sample.item}
    assert {"memory_percent", "proc.memory.rssMB"} <= curves and not any("disk" in key or "/" in key for key in curves)
    assert conversion.of("stats") == []
