import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from cyclegan_gc import __version__
from cyclegan_gc.checkpoint import FORMAT
from cyclegan_gc.cli import main

COMMANDS = ("audit", "train", "convert", "export", "evaluate", "sync", "phantom", "demo")


def outcome(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Exit code and text of standard error."""
    code = main([str(word) for word in words])
    return code, capsys.readouterr().err


@pytest.mark.parametrize("words", [("--help",), *((command, "--help") for command in COMMANDS)])
def test_every_help_page_says_research_use_only(capsys, words):
    assert main(words) == 0
    assert "Research use only" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("words", [["--help"], ["train", "--steps", "0"]])
def test_help_and_usage_errors_load_nothing_heavy(words):
    program = f"import sys; from cyclegan_gc.cli import main; main({words!r}); print(*sys.modules, file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"torch", "monai", "wandb", "nibabel", "numpy", "scipy"} & set(run.stderr.split())


def test_import_of_the_package_is_light():
    program = "import sys, cyclegan_gc; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"torch", "monai", "jsonargparse"} & set(run.stdout.split())


def test_the_loss_alone_needs_no_monai():
    program = "import sys; from cyclegan_gc import gradient_correlation; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"monai", "nibabel", "wandb"} & set(run.stdout.split())


USAGE_ERRORS = {
    "no command": ([], "audit, train, convert"),
    "unknown command": (["trian"], "train"),
    "missing settings": (["train", "--output", "RUN"], "data.mr"),
    "unknown flag": (["convert", "IN", "OUT", "--checkpoint", "C", "--devise", "cpu"], "did you mean --device?"),
    "out of range": (["train", "--output", "RUN", "--loss.cycle", "-1"], "loss.cycle"),
    "wrong word": (["train", "--output", "RUN", "--loss.gradient_mode", "abs"], "absolute"),
    "missing checkpoint": (["convert", "IN", "OUT"], "exported weights or the name of a model: head-t1"),
    "bad relation": (
        ["train", "--output", "RUN", "--data.mr", "A", "--data.ct", "B", "--steps", "5", "--stop_at", "9"],
        "stop_at",
    ),
    "missing folder": (["train", "--output", "RUN", "--data.mr", "NOWHERE", "--data.ct", "NOWHERE"], "NOWHERE"),
    "no such device": (
        ["train", "--output", "RUN", "--data.mr", "A", "--data.ct", "B", "--device", "tpu"],
        "auto, cpu, cuda",
    ),
    "missing input": (["convert", "IN", "OUT", "--checkpoint", "NOWHERE.pt"], "IN: no such file"),
    "missing prediction": (["evaluate", "--predicted", "A", "--reference", "B", "--output", "OUT"], "A: no such file"),
    "audit of nothing": (["audit", "--data.mr", "NOWHERE", "--data.ct", "NOWHERE"], "NOWHERE: no such file"),
    "audit of one kind": (["audit", "--data.mr", "NOWHERE"], "data.ct"),
    "crop too small": (
        ["train", "--output", "RUN", "--data.mr", "A", "--data.ct", "B", "--data.crop", "[16,16]"],
        "at least 24",
    ),
}


@pytest.mark.parametrize(("words", "said"), USAGE_ERRORS.values(), ids=USAGE_ERRORS)
def test_a_usage_error_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    code, error = outcome(capsys, *words)
    assert code == 2
    assert said in error and error.startswith("cyclegan-gc: ") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data: {mrr: X}", "did you mean data.mr"),
        ("losss: {cycle: 2}", "did you mean loss.cycle"),
        ("steps: many", "give a whole number above 0"),
        ("steps: !!python/object/apply:os.getcwd []", "python/object"),
    ],
)
def test_a_wrong_yaml_names_the_key_and_exits_with_2(capsys, tmp_path, text, said):
    config = tmp_path / "bad.yaml"
    config.write_text(text)
    code, error = outcome(capsys, "train", "--config", config, "--output", tmp_path / "run")
    assert code == 2 and said in error and error.count("\n") == 1


def test_print_config_gives_a_yaml_that_the_command_takes_back(capsys, tmp_path):
    words = ["train", "--data.mr", "A", "--data.ct", "B", "--output", "RUN", "--loss.gradient=0.7", "--print_config"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["loss"]["gradient"] == 0.7
    (tmp_path / "again.yaml").write_text(printed)
    assert main(["train", "--config", str(tmp_path / "again.yaml"), "--print_config"]) == 0
    assert capsys.readouterr().out == printed


SWEEP = Path(__file__).parents[1] / "configs" / "sweep.yaml"
PRESETS = sorted(set((Path(__file__).parents[1] / "configs").glob("*.yaml")) - {SWEEP})


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_accepted_and_flags_override_it(capsys, preset):
    words = ["train", "--config", preset, "--data.mr", "A", "--data.ct", "B", "--output", "RUN", "--steps", "7"]
    assert main([*map(str, words), "--print_config"]) == 0
    settings = yaml.safe_load(capsys.readouterr().out)
    assert settings["steps"] == 7
    assert settings["network"] == {**settings["network"], **yaml.safe_load(preset.read_text())["network"]}


def test_one_folder_for_mr_and_ct_is_refused(capsys, phantoms, tmp_path):
    folder = phantoms / "mr"
    code, error = outcome(capsys, "train", "--data.mr", folder, "--data.ct", folder, "--output", tmp_path / "run")
    assert code == 2 and "given as MR and as CT" in error


def test_an_audit_ends_with_0_or_with_2_where_something_fails(capsys, phantoms, tmp_path):
    for swapped, expected in ((False, 0), (True, 2)):
        mr, ct = (phantoms / name for name in (("ct", "mr") if swapped else ("mr", "ct")))
        words = ("audit", "--data.mr", mr, "--data.ct", ct, "--output", tmp_path / "audit")
        assert main([str(word) for word in words]) == expected
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("fail  mr/head" if swapped else "pass  mr/head")
        assert lines[-1].startswith(f"4 volumes: {4 if swapped else 0} fail, ") and "audit.png" in lines[-1]
    assert {path.name for path in (tmp_path / "audit").iterdir()} == {"audit.json", "audit.png"}


def test_an_audit_that_cannot_write_says_so(capsys, phantoms, tmp_path):
    (tmp_path / "file").write_text("in the way")
    words = ("audit", "--data.mr", phantoms / "mr", "--data.ct", phantoms / "ct", "--output", tmp_path / "file")
    code, error = outcome(capsys, *words)
    assert code == 2 and "choose another --output" in error


def test_an_empty_folder_is_refused_with_what_was_found(capsys, phantoms, tmp_path):
    (tmp_path / "mr").mkdir()
    (tmp_path / "mr" / "notes.txt").write_text("no volumes")
    words = ("train", "--data.mr", tmp_path / "mr", "--data.ct", phantoms / "ct", "--output", tmp_path / "run")
    code, error = outcome(capsys, *words)
    assert code == 2 and ".txt" in error


def test_a_missing_reference_or_checkpoint_is_named(capsys, phantoms, tmp_path):
    mr = phantoms / "test" / "mr"
    code, error = outcome(capsys, "evaluate", "--predicted", mr, "--reference", "NOWHERE", "--output", tmp_path / "out")
    assert code == 2 and "NOWHERE: no such file" in error
    code, error = outcome(capsys, "convert", mr, tmp_path / "out", "--checkpoint", tmp_path / "gone.pt")
    assert code == 2 and "gone.pt: no such checkpoint" in error


FOREIGN = {"zip": b"PK\x03\x04 not a checkpoint", "yaml": b"steps: 100\n", "noise": bytes(range(64)), "empty": b""}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_is_no_checkpoint_is_refused(capsys, phantoms, tmp_path, content):
    fake = tmp_path / "fake.pt"
    fake.write_bytes(content)
    code, error = outcome(capsys, "convert", phantoms / "test" / "mr", tmp_path / "out", "--checkpoint", fake)
    assert code == 2 and "fake.pt" in error and error.count("\n") == 1


def test_a_foreign_dictionary_is_no_checkpoint(capsys, phantoms, tmp_path):
    torch.save({"config": {}}, tmp_path / "fake.pt")
    words = ("convert", phantoms / "test" / "mr", tmp_path / "out", "--checkpoint", tmp_path / "fake.pt")
    code, error = outcome(capsys, *words)
    assert code == 2 and "fake.pt: not a checkpoint of cyclegan-gc" in error and error.count("\n") == 1


def test_a_checkpoint_of_another_format_is_refused_with_both_formats_and_the_cure(capsys, phantoms, tmp_path):
    torch.save({"format": FORMAT - 1, "config": {}}, tmp_path / "old.pt")
    words = ("convert", phantoms / "test" / "mr", tmp_path / "out", "--checkpoint", tmp_path / "old.pt")
    code, error = outcome(capsys, *words)
    assert code == 2 and error.count("\n") == 1
    assert (
        f"old.pt: a checkpoint of format {FORMAT - 1}, but cyclegan-gc {__version__} reads format {FORMAT}; " in error
    )
    assert "train again" in error


def test_an_evaluation_in_which_every_case_failed_prints_no_table(tmp_path, capsys):
    for name in ("sct", "ct"):
        (tmp_path / name).mkdir()
        for case in "ab":
            (tmp_path / name / f"{case}.nii.gz").write_bytes(b"no volume")
    words = ["--predicted", tmp_path / "sct", "--reference", tmp_path / "ct", "--output", tmp_path / "out"]
    assert main(["evaluate", *map(str, words)]) == 3
    out, errors = capsys.readouterr()
    assert out == f"{tmp_path / 'out'}: no case could be evaluated; 2 failed\n" and errors.count("failed: ") == 2
