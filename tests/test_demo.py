import json
from pathlib import Path

import pytest
import yaml

from cyclegan_gc.cli import main
from cyclegan_gc.config import DemoConfig, public_settings
from cyclegan_gc.demo import STEPS, recipe
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.parsing.settings import texts_of

PRESET = Path(__file__).parents[1] / "configs" / "phantom.yaml"


def evaluation(output: Path) -> dict[str, dict[str, dict[str, float]]]:
    return json.loads((output / "evaluation.json").read_text())["summary"]


def test_the_preset_for_phantoms_has_the_settings_of_the_demo(capsys):
    words = ["train", "--config", str(PRESET), "--data.mr", "A", "--data.ct", "B", "--output", "RUN"]
    assert main([*words, "--print_config"]) == 0
    settings = yaml.safe_load(capsys.readouterr().out)
    expected = json.loads(json.dumps(public_settings(recipe(DemoConfig(), Path("A"), Path("B")))))
    assert {key: settings[key] for key in expected if key != "data"} == {
        key: value for key, value in expected.items() if key != "data"
    }
    assert settings["data"] == {**settings["data"], **expected["data"]}


def test_the_help_names_the_steps_of_the_recipe():
    assert texts_of(DemoConfig)["steps"].endswith(f"Default: {STEPS}.")


def test_the_demo_ends_in_a_report_that_opens_alone(tmp_path, capsys):
    assert main(["demo", "--output", str(tmp_path), "--steps", "3", "--device", "cpu"]) == 0
    assert "report.html" in capsys.readouterr().out
    results = sorted((tmp_path / "sct").glob("*.nii.gz"))
    truth = sorted((tmp_path / "phantoms" / "test" / "ct").iterdir())
    assert [path.name for path in results] == [path.name.replace(".nii", "_sct.nii") for path in truth]
    for result, true in zip(results, truth, strict=True):
        assert read_volume(result).array.shape == read_volume(true).array.shape
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64") == len(truth) + 2 and 'src="http' not in page
    assert set(evaluation(tmp_path)["mae"]) == {"sct", "constant", "histogram_match"}


@pytest.mark.slow
def test_the_demo_beats_the_trivial_baselines_by_far(tmp_path):
    assert main(["demo", "--output", str(tmp_path), "--seed", "1"]) == 0
    figures = evaluation(tmp_path)
    baseline = min(figures["mae"]["constant"]["mean"], figures["mae"]["histogram_match"]["mean"])
    assert figures["mae"]["sct"]["mean"] < 0.7 * baseline
    assert figures["bone_dice"]["sct"]["mean"] > 0.6
