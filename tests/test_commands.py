"""Commands on a training of two steps, as a user calls them."""

import gzip
import json
from pathlib import Path

import pytest

from cyclegan_gc.atomic import file_sha256
from cyclegan_gc.cli import RESAMPLED, main


def outcome(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Exit code and text of standard error."""
    code = main([str(word) for word in words])
    return code, capsys.readouterr().err


TINY = (
    *("--device", "cpu", "--wandb.mode", "disabled", "--data.crop", "48", "40", "--preprocess.spacing_mm", "4"),
    *("--network.width", "4", "--network.blocks", "1", "--network.discriminator_width", "4"),
    *("--network.discriminator_layers", "1", "--data.validation_fraction", "0"),
)


@pytest.fixture(scope="module")
def run(phantoms, tmp_path_factory) -> Path:
    """Run folder of a training of two steps."""
    folder = tmp_path_factory.mktemp("tiny") / "run"
    words = ("train", "--data.mr", phantoms / "mr", "--data.ct", phantoms / "ct", "--output", folder, "--steps", 2)
    assert main([str(word) for word in (*words, *TINY)]) == 0
    return folder


def test_a_run_folder_stands_for_its_newest_checkpoint_and_the_file_is_named(capsys, phantoms, run, tmp_path):
    mr, sct = phantoms / "test" / "mr", tmp_path / "sct"
    words = ("convert", mr, sct, "--checkpoint", run, "--ensemble", run, "--device", "cpu", "--uncertainty", "--mirror")
    code, error = outcome(capsys, *words)
    assert code == 0 and error.count(f"note: {run}: using last.pt\n") == 2
    [sidecar] = list(sct.glob("*_sct.json"))
    assert file_sha256([run / "last.pt"]) in sidecar.read_text()
    words = ("evaluate", "--predicted", sct, "--reference", phantoms / "test" / "ct", "--mr", mr, "--checkpoint", run)
    code, error = outcome(capsys, *words, "--output", tmp_path / "evaluation")
    assert code == 0 and f"note: {run}: using last.pt\n" in error


def test_a_training_begins_with_and_continues_a_run_folder(capsys, phantoms, run, tmp_path):
    words = ("train", "--data.mr", phantoms / "mr", "--data.ct", phantoms / "ct", "--output", tmp_path / "new", *TINY)
    code, error = outcome(capsys, *words, "--steps", 3, "--stop_at", 1, "--init_from", run)
    assert code == 0 and f"note: {run}: using last.pt\n" in error
    code, error = outcome(capsys, *words, "--steps", 3, "--resume", tmp_path / "new")
    assert code == 0 and f"note: {tmp_path / 'new'}: using last.pt\n" in error


def test_a_folder_without_a_checkpoint_is_refused_in_one_line(capsys, phantoms, tmp_path):
    words = ("convert", phantoms / "test" / "mr", tmp_path / "out", "--checkpoint", phantoms)
    code, error = outcome(capsys, *words)
    assert (
        code == 2
        and error == f"cyclegan-gc: {phantoms}: no last.pt in this folder; give a run folder or a checkpoint file\n"
    )


def test_a_conversion_prints_each_remark_once_and_the_resampling_once_a_batch(capsys, phantoms, run, tmp_path):
    (tmp_path / "in").mkdir()
    for number, source in enumerate(sorted((phantoms / "mr").iterdir())):
        (tmp_path / "in" / f"m{number}.nii").write_bytes(gzip.decompress(source.read_bytes()))
    (tmp_path / "in" / "m1.nii").rename(tmp_path / "in" / "m1.nii.gz")  # told by a warning: not compressed
    (tmp_path / "in" / "broken.nii").write_bytes(b"no volume")
    words = ("convert", tmp_path / "in", tmp_path / "out", "--checkpoint", run / "last.pt", "--device", "cpu")
    assert main([str(word) for word in words]) == 3
    printed = "".join(capsys.readouterr())
    warnings = {
        warning
        for case in json.loads((tmp_path / "out" / "manifest.json").read_text())["cases"]
        for warning in case["warnings"]
    }
    resampled = {warning for warning in warnings if RESAMPLED in warning}
    assert resampled and len(warnings - resampled) == 1
    assert [printed.count(warning) for warning in warnings - resampled] == [1]
    assert not any(warning in printed for warning in resampled)
    assert printed.count("note: 2 of 3 resampled to the model's pixel size and back") == 1
    assert printed.count("failed: ") == 1 and printed.count("broken.nii: ") == 1
