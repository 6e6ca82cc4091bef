"""The watchdog: every failure is planted for real and named; what is healthy raises none."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cyclegan_gc.checkpoint import load_checkpoint
from cyclegan_gc.config import DemoConfig, LossConfig, MonitorConfig, PreprocessConfig, WandbConfig
from cyclegan_gc.data.cache import OUTSIDE, cached_volume
from cyclegan_gc.data.planes import Stack
from cyclegan_gc.demo import recipe
from cyclegan_gc.errors import TrainingStoppedError
from cyclegan_gc.formats.sources import source_of
from cyclegan_gc.model.cyclegan import Batch
from cyclegan_gc.train.checkpoints import best_score_before
from cyclegan_gc.train.loop import train
from cyclegan_gc.trained_model import Translator
from cyclegan_gc.validate.fixed_slices import fixed_slices, look_at
from cyclegan_gc.validate.watchdog import Monitor, blank_share, training_findings, validation_findings

HEALTHY = {
    "discriminator_ct": 0.2,
    "discriminator_mr": 0.25,
    "adversarial_ct": 0.4,
    "adversarial_mr": 0.35,
    "gradient_norm_generators": 6.0,
    "blank_slices": 0.0,
}


class Answer(nn.Module):
    """A generator that answers by a function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.place = nn.Parameter(torch.zeros(1))  # tells the device

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Any image to the function's."""
        return self.function(image)


@pytest.fixture(scope="module")
def held_out(phantoms, tmp_path_factory):
    """The fixed slices of a phantom whose true CT is known: the batch's CT belongs to its MR."""
    folder = tmp_path_factory.mktemp("cache")
    settings = PreprocessConfig()

    def stacks(path, modality):
        return [Stack(cached_volume([source_of(path)], modality, settings, folder), "axial")]

    (mr,), (ct,) = (sorted((phantoms / "test" / kind).iterdir()) for kind in ("mr", "ct"))
    others = [stack for path in sorted((phantoms / "ct").iterdir()) for stack in stacks(path, "ct")]
    translator = Translator(nn.Identity(), nn.Identity(), "mr_to_ct", settings, ("axial",), 0, (), (80, 64), {})
    return fixed_slices(stacks(mr, "mr"), stacks(ct, "ct"), others, (80, 64), translator), translator


def found(held_out, answer) -> set[str]:
    """Findings of a validation about a generator of CT; slices pass in order, 8 at a time."""
    fixed, translator = held_out
    truth, mr = iter(fixed.ct.split(8)), fixed.mr
    assert len(mr) == 24

    def make(image: torch.Tensor) -> torch.Tensor:
        if any(torch.equal(image, part) for part in mr.split(8)):
            return answer(image, next(truth))
        return image

    networks = {"generator": Answer(make), "back": Answer(lambda image: torch.zeros_like(image))}
    figures = look_at(fixed, replace(translator, **networks), LossConfig()).figures
    return {name for name, finding in validation_findings(figures).items() if finding}


def test_the_truth_is_healthy(held_out):
    assert found(held_out, lambda _, ct: ct) == set()


def test_an_inverted_picture_is_named(held_out):
    assert found(held_out, lambda _, ct: -ct) == {"contrast_inversion"}


def test_a_copy_of_the_input_is_named(held_out):
    assert "identity" in found(held_out, lambda mr, _: mr)


def test_one_picture_for_all_is_named(held_out):
    first = held_out[0].ct[4]
    assert found(held_out, lambda mr, _: first.expand_as(mr)) == {"mode_collapse"}


def test_a_healthy_interval_finds_nothing():
    assert not any(training_findings(HEALTHY).values())


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("discriminator_saturation", {"discriminator_ct": 0.001, "adversarial_ct": 0.99}),
        ("exploded_loss", {"discriminator_mr": 1e13}),
        ("dead_gradients", {"gradient_norm_generators": 0.0}),
        ("blank_batches", {"blank_slices": 0.8}),
    ],
)
def test_a_failing_interval_is_named(name, figures):
    findings = training_findings({**HEALTHY, **figures})
    assert [each for each, finding in findings.items() if finding] == [name]


def test_a_finding_is_an_alarm_when_it_lasts_and_only_once():
    monitor = Monitor()
    alarms = [monitor.check(step, {"identity": "it copies"}) for step in (10, 20, 30, 40)]
    assert [len(each) for each in alarms] == [0, 1, 0, 0]
    assert (alarms[1][0].since, alarms[1][0].step) == (10, 20)
    assert monitor.check(50, {"identity": None}) == [] and monitor.found == {}
    assert [len(monitor.check(step, {"identity": "again"})) for step in (60, 70)] == [0, 1]


def test_a_resumed_watchdog_remembers():
    one, other = Monitor(), Monitor()
    one.check(10, {"identity": "it copies"})
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert [alarm.since for alarm in other.check(20, {"identity": "it copies"})] == [10]


def test_blank_slices_are_those_without_body_or_without_structure():
    random = torch.Generator().manual_seed(0)
    image = torch.rand(4, 1, 16, 16, generator=random) * 2 - 1
    mask = torch.ones(4, 1, 16, 16, dtype=torch.bool)
    assert blank_share(Batch(image, image, mask, mask)) == 0
    empty, flat = mask.clone(), image.clone()
    empty[:2], flat[:1] = False, 0.3
    assert blank_share(Batch(image, flat, empty, mask)) == pytest.approx((2 / 4 + 1 / 4) / 2)


def alarms(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "alarm" in line]


def saturate_generators(run: Path, found: dict[str, list[int]] | None = None) -> None:
    """Change the saved generators so that they show white everywhere, where tanh has no slope left."""
    state = load_checkpoint(run / "last.pt")
    for part in ("networks", "ema"):
        for name in ("mr_to_ct", "ct_to_mr"):
            weights = state[part][name]
            (bias,) = (key for key in weights if key.endswith("bias"))
            weights[bias].fill_(100.0)
    state["monitor"], state["suspect"] = {"found": found or {}}, bool(found)
    (run / "last.pt").unlink()  # other names of the same file stay whole
    torch.save(state, run / "last.pt")


@pytest.fixture
def config(small_config, tmp_path):
    optimizer = replace(small_config.optimizer, learning_rate=5e-3)
    return replace(
        small_config, output=tmp_path / "run", steps=200, log_every=10, validate_every=20, optimizer=optimizer
    )


@pytest.mark.slow
def test_generators_that_show_white_are_named_in_all_ways(config, capsys):
    """Nothing reaches the generators, all pictures are one, and the discriminators learn to tell every fake."""
    train(replace(config, stop_at=10))
    saturate_generators(config.output)
    train(replace(config, resume="auto"))
    told = alarms(config.output)
    assert {line["alarm"] for line in told} == {"dead_gradients", "mode_collapse", "discriminator_saturation"}
    errors = capsys.readouterr().err
    assert all(f"alarm: step {line['step']}: {line['message']}" in errors for line in told)
    assert all("\n" not in line["message"] and "; " in line["message"] for line in told)
    # Where nobody means to return, the checkpoints move on all the same; a condemned picture is never the best.
    steps = [load_checkpoint(config.output / name)["step"] for name in ("last.pt", "previous.pt")]
    assert steps == [200, 195] and not (config.output / "best.pt").exists()


def test_blank_volumes_are_named(config, tmp_path):
    """The prepared volumes are emptied behind the reader's back, as a broken disk might."""
    data = replace(config.data, cache=tmp_path / "cache", validation_fraction=0)
    config = replace(config, data=data, steps=20, log_every=5)
    train(replace(config, output=tmp_path / "first", stop_at=1))
    for path in (path.with_suffix(".npy") for path in (tmp_path / "cache").glob("*.json")):
        np.save(path, np.full_like(np.load(path), OUTSIDE))
    train(config)
    assert "blank_batches" in {line["alarm"] for line in alarms(config.output)}


def test_stop_ends_the_run_with_the_alarm_and_the_last_good_checkpoint(config):
    train(replace(config, stop_at=10))
    saturate_generators(config.output)
    before = r"step 30: dead_gradients since step 20: .*the last checkpoint before it is \S*previous\.pt"
    with pytest.raises(TrainingStoppedError, match=before):
        train(replace(config, resume="auto", monitor=MonitorConfig("stop")))
    assert load_checkpoint(config.output / "previous.pt")["step"] == 15
    page = (config.output / "index.html").read_text()
    assert "Step 30 of 200" in page and "<li>dead_gradients since step 20" in page
    assert "Validation score" in page and "step_0000020.png" in page


def test_rollback_returns_to_before_the_failure_and_draws_other_samples(config, capsys):
    config = replace(config, steps=60)
    train(replace(config, stop_at=10))
    saturate_generators(config.output, found={"dead_gradients": [8]})
    train(replace(config, resume="auto", monitor=MonitorConfig("rollback")))
    assert "back at step 5 because of dead_gradients; other samples are drawn" in capsys.readouterr().err
    last = load_checkpoint(config.output / "last.pt")
    assert (last["step"], last["stream"]) == (60, 1)
    lines = [json.loads(line) for line in (config.output / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines]
    assert steps == sorted(steps) and set(steps) == {5, 10, 20, 30, 40, 50, 60}
    assert [line["step"] for line in lines if "dead_gradients since step 8" in line.get("rollback", "")] == [5]


def test_after_a_return_patience_counts_anew_and_only_a_healthy_picture_is_the_best(config):
    config = replace(config, steps=60, patience=1)
    train(replace(config, stop_at=10))
    saturate_generators(config.output, found={"dead_gradients": [8]})
    train(replace(config, resume="auto", monitor=MonitorConfig("rollback")))
    last, best = (load_checkpoint(config.output / f"{name}.pt") for name in ("last", "best"))
    assert last["step"] >= 20 and (best["stream"], best["monitor"]["found"]) == (1, {})


def test_after_a_return_the_best_score_is_that_of_the_best_checkpoint_which_is_left(config):
    train(replace(config, stop_at=10, validate_every=10))
    best = load_checkpoint(config.output / "best.pt")
    assert best_score_before(config.output, 11) == best["best_score"] and (config.output / "best.pt").exists()
    assert best_score_before(config.output, 10) == math.inf and not (config.output / "best.pt").exists()


def test_a_failure_that_stays_stops_the_run_after_three_returns(config, capsys):
    train(replace(config, stop_at=10))
    saturate_generators(config.output)
    (config.output / "previous.pt").unlink()
    with pytest.raises(TrainingStoppedError, match="dead_gradients"):
        train(replace(config, resume="auto", monitor=MonitorConfig("rollback")))
    assert capsys.readouterr().err.count("back at step 15") == 3


def test_training_ends_early_where_the_score_gets_no_better(config, capsys):
    """Generators that show white get no better, whatever the score says of them at first."""
    train(replace(config, stop_at=10))
    saturate_generators(config.output)
    patient = replace(config, resume="auto", patience=2)
    train(patient)
    assert "no better score in 2 validations" in capsys.readouterr().out
    state = load_checkpoint(config.output / "last.pt")
    assert state["stale"] == 2 and state["step"] < config.steps
    train(patient)  # and it stays ended
    assert load_checkpoint(config.output / "last.pt")["step"] == state["step"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_run_raises_no_alarm(phantoms, tmp_path, seed):
    demo = recipe(DemoConfig(tmp_path, seed=seed, device="cpu"), phantoms, tmp_path / "run")
    train(replace(demo, stop_at=300, validate_every=50, log_every=10, wandb=WandbConfig(mode="disabled")))
    assert alarms(tmp_path / "run") == []
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 36
