from pathlib import Path

import pytest

from cyclegan_gc.errors import UserError
from cyclegan_gc.evaluate.matching import named_sources, sidecar_of
from cyclegan_gc.formats.sources import source_of


def test_methods_are_named_before_an_equals_sign_and_one_alone_needs_no_name():
    assert named_sources(["CUT=some/cut", "MaskGAN 2=b*.nii"], "--compare") == {
        "CUT": "some/cut",
        "MaskGAN 2": "b*.nii",
    }
    assert named_sources(["some/cut"], "--compare") == {"compared": "some/cut"}
    assert named_sources([], "--compare") == {}


def test_a_folder_whose_name_holds_an_equals_sign_is_a_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lr=0.1").mkdir()
    assert named_sources(["lr=0.1"], "--compare") == {"compared": "lr=0.1"}
    assert named_sources(["CUT=lr=0.1"], "--compare") == {"CUT": "lr=0.1"}
    assert named_sources(["../lr=0.1"], "--compare") == {"compared": "../lr=0.1"}


@pytest.mark.parametrize(
    "words", [["a", "CUT=b"], ["CUT=a", "CUT=b"], ["sct=a"], ["constant=a"], ["synthetic=a"], ["true=a"]]
)
def test_names_that_are_missing_doubled_or_taken_are_refused(words):
    with pytest.raises(UserError, match="--compare"):
        named_sources(words, "--compare")


def test_the_json_of_another_program_beside_a_ct_is_no_sidecar(tmp_path):
    beside = tmp_path / "p1_sct.json"
    for content, known in (
        ('{"settings": {}, "models": ["unet"]}', False),
        ('{"tool": "cyclegan-gc 1", "settings": {}}', True),
    ):
        beside.write_text(content)
        assert bool(sidecar_of(source_of(tmp_path / "p1_sct.nii.gz"))) == known
