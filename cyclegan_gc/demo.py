"""The demo on phantoms: train unpaired, convert held-out subjects, evaluate against the truth."""

from pathlib import Path

from cyclegan_gc.config import (
    ConvertConfig,
    DataConfig,
    DemoConfig,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
    PairedConfig,
    TrainConfig,
)
from cyclegan_gc.convert.batch import convert
from cyclegan_gc.evaluate.baselines import load_histogram_model
from cyclegan_gc.evaluate.evaluation import evaluate
from cyclegan_gc.evaluate.matching import Sources
from cyclegan_gc.evaluate.tables import summary_table
from cyclegan_gc.phantom.subject import write_phantoms
from cyclegan_gc.train.loop import train

SUBJECTS, TEST_SUBJECTS = 8, 4
STEPS = 2400


def demo(config: DemoConfig) -> tuple[Path, list[str]]:
    """Generate, train, convert and evaluate; each step is a command of ``cyclegan-gc`` too.

    Returns:
        The report, one HTML file with its pictures inside, and one line for each failed case.

    Raises:
        UserError: if the output folder cannot be written or the device does not exist.
    """
    phantoms, run, results = (config.output / name for name in ("phantoms", "run", "sct"))
    print(f"phantoms: {SUBJECTS} MR and {SUBJECTS} CT subjects to train on, {TEST_SUBJECTS} held out")
    write_phantoms(phantoms, subjects=SUBJECTS, test_subjects=TEST_SUBJECTS, seed=config.seed)
    checkpoint = train(recipe(config, phantoms, run))
    converted = convert(ConvertConfig(checkpoint, str(phantoms / "test" / "mr"), results, device=config.device))
    truth = phantoms / "test"
    sources = Sources(str(results), str(truth / "ct"), mr=str(truth / "mr"), mask=str(truth / "labels"))
    evaluation = evaluate(sources, config.output, model=load_histogram_model(checkpoint))
    print(summary_table(evaluation))
    failures = [case.failure for case in converted if case.failure]
    return config.output / "report.html", failures + evaluation.failures


def recipe(config: DemoConfig, phantoms: Path, run: Path) -> TrainConfig:
    """The settings of ``configs/phantom.yaml``: small networks for coarse slices, about 10 minutes on two CPU cores."""
    return TrainConfig(
        output=run,
        data=DataConfig(
            str(phantoms / "mr"), str(phantoms / "ct"), crop=(80, 64), match_position=True, validation_fraction=0.0
        ),
        steps=config.steps or STEPS,
        resume="auto",
        seed=config.seed,
        device=config.device,
        validate_every=500,
        network=NetworkConfig(width=16, blocks=4, reduction=2, stem="unshuffle", discriminator_width=16),
        loss=LossConfig(cycle=3.0, gradient=0.3, gradient_operator="forward", depth_histogram=1.0),
        paired=PairedConfig(gradient_operator="forward"),
        optimizer=OptimizerConfig(batch_size=2, learning_rate=8e-4, ema_decay=0.995),
    )
