"""Which checkpoints a run keeps, and which one it goes on from."""

import math
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch

from cyclegan_gc.atomic import link_over
from cyclegan_gc.checkpoint import load_checkpoint, save_checkpoint
from cyclegan_gc.errors import UserError
from cyclegan_gc.model_files import public_name
from cyclegan_gc.train.loop import train
from cyclegan_gc.trained_model import load_model


@pytest.fixture
def run(small_config, tmp_path) -> Path:
    """A run stopped at step 10 that saves every 5."""
    return train(replace(small_config, output=tmp_path / "run", stop_at=10)).parent


@pytest.fixture(scope="module")
def whole(small_config, tmp_path_factory) -> Path:
    return train(replace(small_config, output=tmp_path_factory.mktemp("whole")))


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        del content[len(content) // 2 :]
    elif how == "empty":
        content.clear()
    else:
        content[len(content) // 2] ^= 0xFF
    path.unlink()  # other names of the same file stay whole
    path.write_bytes(content)


def test_the_last_two_checkpoints_are_kept_besides_the_best(run):
    steps = {path.name: load_checkpoint(path)["step"] for path in run.glob("*.pt")}
    assert steps == {"last.pt": 10, "previous.pt": 5, "best.pt": 10}


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_with_a_warning(
    run, whole, small_config, same, logged, capsys, how
):
    damage(run / "last.pt", how)
    last = train(replace(small_config, output=run, resume="auto"))
    assert "warning: " in (text := capsys.readouterr()).err and "continuing from previous.pt" in text.err
    assert "steps 5 to 20" in text.out
    resumed, uninterrupted = load_checkpoint(last), load_checkpoint(whole)
    for part in ("networks", "ema", "optimizers", "pools", "meter"):
        assert same(resumed[part], uninterrupted[part]), part
    assert load_checkpoint(run / "previous.pt")["step"] == 15
    assert logged(run) == logged(whole.parent)


def test_a_run_whose_checkpoints_are_all_damaged_is_not_begun_anew(run, small_config):
    damage(run / "last.pt", "truncated")
    damage(run / "previous.pt", "truncated")
    with pytest.raises(UserError, match=r"previous\.pt: not a readable checkpoint"):
        train(replace(small_config, output=run, resume="auto"))


def test_a_run_that_lost_its_last_checkpoint_is_still_not_overwritten(run, small_config):
    (run / "last.pt").unlink()
    with pytest.raises(UserError, match=r"previous\.pt: this folder already holds a run"):
        train(replace(small_config, output=run))


def test_resume_auto_in_an_empty_folder_begins(small_config, tmp_path):
    assert load_checkpoint(train(replace(small_config, output=tmp_path, resume="auto", stop_at=1)))["step"] == 1


def test_another_architecture_is_refused_in_one_line_with_both(run, small_config):
    wider = replace(small_config, output=run, resume="auto", network=replace(small_config.network, blocks=2))
    with pytest.raises(UserError, match=r"network: .*'blocks': 1.* in the checkpoint, .*'blocks': 2.* now") as caught:
        train(wider)
    assert "\n" not in str(caught.value)


def test_more_steps_need_a_new_run_that_begins_with_the_weights(whole, small_config):
    with pytest.raises(UserError, match=r"ends at step 20; .*--init_from RUN and another --output$"):
        train(replace(small_config, output=whole.parent, steps=40, resume="auto"))


def test_a_checkpoint_that_cannot_take_its_name_leaves_the_others_alone(tmp_path):
    save_checkpoint(tmp_path / "last.pt", {"step": 1})
    before = (tmp_path / "last.pt").read_bytes()

    def fail(_: Path) -> None:
        raise OSError("no more names")

    with pytest.raises(OSError, match="no more names"):
        save_checkpoint(tmp_path / "last.pt", {"step": 2}, written=fail)
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
    assert (tmp_path / "last.pt").read_bytes() == before


EDITS = {
    "no settings": ("config", None),
    "no averages": ("ema", None),
    "no figures": ("fingerprint", {}),
    "a negative pixel size": ("config.preprocess.spacing_mm", -2.0),
    "a tiny pixel size": ("config.preprocess.spacing_mm", 1e-6),
    "an unknown stem": ("config.network.stem", "wide"),
    "a fraction of a block": ("config.network.blocks", 1.5),
    "a thousand million blocks": ("config.network.blocks", 10**9),
    "a thousand million channels": ("config.network.width", 10**9),
    "a huge crop": ("config.data.crop", (10**5, 10**5)),
    "no plane": ("config.data.slice_axes", ()),
    "a falling window": ("config.preprocess.ct_window_hu", (5.0, 1.0)),
    "a word as step": ("step", "\x1b[31m<b>"),
    "not a number": ("fingerprint.mr_histogram.counts", [math.nan]),
    "weights in 8 bits": ("ema.mr_to_ct", {"module.stem.0.weight": torch.zeros(4, dtype=torch.int8)}),
    "a small memory shown large": ("ema.mr_to_ct", {"module.stem.0.weight": torch.zeros(1).expand(10**12)}),
}


def edited(path: Path, place: str, value: Any) -> dict[str, Any]:
    state = torch.load(path, weights_only=True)
    *parts, last = place.split(".")
    reduce(dict.__getitem__, parts, state)[last] = value
    return state


@pytest.mark.parametrize(("place", "value"), EDITS.values(), ids=EDITS)
def test_an_edited_checkpoint_is_refused_in_one_line(whole, tmp_path, place, value):
    torch.save(edited(whole, place, value), tmp_path / "edited.pt")
    # A number of channels that the weights do not have is no wrong value by itself.
    fault = (
        r"its parts do not fit one another" if place == "config.network.width" else r".* is not what cyclegan-gc writes"
    )
    with pytest.raises(UserError, match=rf"edited\.pt: {fault} .*; give an unchanged checkpoint") as caught:
        load_model(tmp_path / "edited.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["networks.mr_to_ct", "optimizers.generators", "meter"])
def test_a_run_does_not_go_on_from_parts_that_do_not_fit(run, small_config, tmp_path, part):
    torch.save(edited(run / "last.pt", part, {}), tmp_path / "edited.pt")
    with pytest.raises(UserError, match=r"edited\.pt: its parts do not fit one another"):
        train(replace(small_config, output=tmp_path / "other", resume=str(tmp_path / "edited.pt")))


def test_a_second_name_outlives_the_first(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    link_over(one, two)
    one.unlink()
    assert two.read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["two"]


def test_only_a_run_folder_is_named_with_its_checkpoint(tmp_path):
    run, person = tmp_path / "head_7", tmp_path / "Doe_Jane"
    for folder in (run, person):
        folder.mkdir()
    (run / "config.json").write_text("{}")
    assert public_name(run / "last.pt") == "head_7/last.pt" and public_name(person / "best.pt") == "best.pt"


def test_a_run_from_before_a_setting_goes_on(run, small_config):
    state = load_checkpoint(run / "last.pt")
    del state["config"]["preprocess"]["soft_tissue_hu"]
    save_checkpoint(run / "last.pt", state)
    assert load_checkpoint(run / "last.pt")["config"]["preprocess"]["soft_tissue_hu"] is None
    assert load_checkpoint(train(replace(small_config, output=run, resume="auto")))["step"] == small_config.steps
