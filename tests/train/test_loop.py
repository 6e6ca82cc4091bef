import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cyclegan_gc.checkpoint import load_checkpoint
from cyclegan_gc.config import (
    DataConfig,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
    PreprocessConfig,
    TrainConfig,
    WandbConfig,
)
from cyclegan_gc.errors import TrainingStoppedError, UserError
from cyclegan_gc.train.loop import train
from cyclegan_gc.trained_model import load_model


@pytest.fixture(scope="module")
def config(phantoms, tmp_path_factory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("train")
    return TrainConfig(
        output=folder / "whole",
        data=DataConfig(str(phantoms / "mr"), str(phantoms / "ct"), crop=(32, 24), cache=folder / "cache"),
        steps=20,
        log_every=5,
        validate_every=10,
        device="cpu",
        preprocess=PreprocessConfig(spacing_mm=6.0),
        network=NetworkConfig(width=4, blocks=1, discriminator_width=4, discriminator_layers=1),
        loss=LossConfig(cycle=10, gradient=1, identity=0.5),
        optimizer=OptimizerConfig(batch_size=2, learning_rate=1e-3, pool_size=4, ema_decay=0.9),
        wandb=WandbConfig(mode="disabled"),
    )


@pytest.fixture(scope="module")
def whole(config) -> Path:
    return train(config)


def figures(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def same(one: object, other: object) -> bool:
    """Bitwise equality of nested checkpoints."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)  # pyright: ignore[reportArgumentType]
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)  # pyright: ignore
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))  # pyright: ignore
    return one == other


@pytest.mark.parametrize("workers", [0, 3])
def test_a_run_stopped_at_9_and_resumed_equals_the_uninterrupted_one_bit_for_bit(config, whole, workers):
    output = config.output.with_name(f"resumed{workers}")
    parted = replace(config, output=output, data=replace(config.data, workers=workers))
    train(replace(parted, stop_at=9))
    resumed, uninterrupted = load_checkpoint(train(replace(parted, resume="auto"))), load_checkpoint(whole)
    assert resumed["step"] == uninterrupted["step"] == 20
    for part in ("networks", "ema", "optimizers", "schedulers", "pools", "rng", "best_score", "fingerprint"):
        assert same(resumed[part], uninterrupted[part]), part


def test_another_seed_gives_another_run(config, whole):
    other = train(replace(config, output=config.output.with_name("seed1"), seed=1, stop_at=1))
    assert not same(load_checkpoint(other)["networks"], load_checkpoint(whole)["networks"])


def test_every_term_is_logged_unweighted_beside_the_weighted_sum(config, whole):
    for line in (line for line in figures(whole.parent) if "generator" in line):
        weighted = line["adversarial_ct"] + line["adversarial_mr"] + 10 * (line["cycle_mr"] + line["cycle_ct"])
        weighted += (line["gradient_mr"] + line["gradient_ct"]) / 2 + 0.5 * (line["identity_ct"] + line["identity_mr"])
        assert line["generator"] == pytest.approx(weighted, rel=1e-4)
        assert {"discriminator_ct", "discriminator_mr", "learning_rate", "steps_per_second"} <= line.keys()
    assert [line["step"] for line in figures(whole.parent) if "generator" in line] == [5, 10, 15, 20]


def test_a_resumed_run_logs_no_step_twice(config):
    parted = replace(config, output=config.output.with_name("lines"))
    train(replace(parted, stop_at=10))
    with (parted.output / "metrics.jsonl").open("a") as file:
        file.write('{"step": 12, "generator": 0}\n{"step": 13, "gen')  # what a crash leaves behind
    train(replace(parted, resume="auto", stop_at=15))
    assert [line["step"] for line in figures(parted.output) if "generator" in line] == [5, 10, 15]


def test_the_learning_rate_is_constant_for_half_the_steps_and_falls_to_zero(config, whole):
    rates = {line["step"]: line["learning_rate"] for line in figures(whole.parent) if "learning_rate" in line}
    assert rates == pytest.approx({5: 1e-3, 10: 1e-3, 15: 0.5e-3, 20: 0})


def test_best_has_the_lowest_validation_score(config, whole):
    scores = {line["step"]: line["validation/score"] for line in figures(whole.parent) if "validation/score" in line}
    best = load_checkpoint(whole.with_name("best.pt"))
    assert sorted(scores) == [10, 20]
    assert best["step"] == min(scores, key=lambda step: scores[step])
    assert (whole.parent / "panels" / "step_0000020.png").stat().st_size > 1000


def test_training_lowers_the_cycle_error(config):
    network = replace(config.network, width=8, reduction=2)
    longer = replace(config, output=config.output.with_name("longer"), network=network, steps=100, log_every=20)
    lines = [line for line in figures(train(longer).parent) if "cycle_ct" in line]
    assert lines[-1]["cycle_ct"] < 0.7 * lines[0]["cycle_ct"]


def test_no_path_and_no_case_name_is_in_a_checkpoint(config, whole, phantoms):
    content = whole.read_bytes()
    assert b"mr_to_ct" in content
    for planted in (b"head_", str(config.output).encode(), str(phantoms).encode()):
        assert planted not in content


def test_conversion_uses_the_moving_average(whole):
    state = load_checkpoint(whole)
    weights = load_model(whole).translator.generator.state_dict()
    assert all(torch.equal(weights[key], state["ema"]["mr_to_ct"]["module." + key]) for key in weights)
    assert not all(torch.equal(weights[key], state["networks"]["mr_to_ct"][key]) for key in weights)


def test_other_settings_are_refused_on_resume_with_both_values(config, whole):
    wider = replace(config, resume=str(whole), network=replace(config.network, width=8))
    with pytest.raises(UserError, match=r"network: .*'width': 4.*'width': 8"):
        train(wider)


def test_other_training_volumes_are_refused_on_resume(config, whole, phantoms, tmp_path):
    for path in (*(phantoms / "mr").iterdir(), *(phantoms / "test" / "mr").iterdir()):
        (tmp_path / path.name).symlink_to(path)
    more = replace(config, resume=str(whole), data=replace(config.data, mr=str(tmp_path)))
    with pytest.raises(UserError, match="other training volumes"):
        train(more)


def test_a_run_that_is_there_is_not_overwritten(config, whole):
    before = whole.read_bytes()
    with pytest.raises(UserError, match="--resume auto"):
        train(config)
    assert whole.read_bytes() == before


def test_a_truncated_checkpoint_is_refused_in_one_line(whole, tmp_path):
    broken = tmp_path / "last.pt"
    broken.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"last\.pt: not a readable checkpoint"):
        load_checkpoint(broken)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    torch.save({"format": 2, "config": Path("x")}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match=r"evil\.pt"):
        load_checkpoint(tmp_path / "evil.pt")


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_nothing(config, whole):
    parted = replace(config, output=config.output.with_name("nan"))
    last = train(replace(parted, stop_at=10))
    state = load_checkpoint(last)
    state["networks"]["mr_to_ct"]["tail.2.weight"].fill_(float("nan"))
    torch.save(state, last)
    before = last.read_bytes()
    with pytest.raises(TrainingStoppedError, match=r"step 11: adversarial_ct, .*last good checkpoint is .*last\.pt"):
        train(replace(parted, resume="auto"))
    assert last.read_bytes() == before
