"""The lines that a training prints for the person who watches."""

from dataclasses import replace

import torch

from cyclegan_gc.train import display
from cyclegan_gc.train.display import Display
from cyclegan_gc.train.loop import train

CPU = torch.device("cpu")


def test_lines_tell_the_time_left_and_validations_their_score(small_config, tmp_path, capsys):
    data = replace(small_config.data, validation_fraction=0.5)
    train(replace(small_config, output=tmp_path, data=data, log_every=10))
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "1 MR and 1 CT cases, 2 subjects held out for validation; steps 0 to 20 on cpu"
    steps = [line for line in lines if line.startswith("step 10/20") or line.startswith("step 20/20")]
    assert len(steps) == 2 and steps[1].endswith("0:00:00 left")
    scores = [line for line in lines if ": validation score " in line]
    assert [line.split(":")[0] for line in scores] == ["step 10", "step 20"]
    assert scores[0].endswith("the best so far, kept as best.pt")


def test_a_training_of_days_on_a_cpu_is_said_so_after_a_few_steps(capsys):
    with Display(0, 10**12, CPU, shown=True) as shown:
        for _ in range(10):
            shown.advance()
        shown.restart(0)  # as after a return to an earlier checkpoint
        for _ in range(10):
            shown.advance()
    errors = capsys.readouterr().err
    assert errors.count("days on this CPU") == 1 and "use a GPU" in errors


def test_a_short_training_or_another_rank_says_nothing_of_days(capsys):
    for end, speaks in ((10, True), (10**12, False)):
        with Display(0, end, CPU, shown=speaks) as shown:
            for _ in range(2 + display.TIMED_STEPS):
                shown.advance()
            shown.show("loss 1.000")
    written = capsys.readouterr()
    assert written.err == "" and written.out.count("loss 1.000") == 1
