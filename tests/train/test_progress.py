"""The plot and the page that a training leaves for those who have no W&B."""

import math
import re
from dataclasses import replace

from matplotlib.axes import Axes

from cyclegan_gc.pictures.sheets import read_png
from cyclegan_gc.train.loop import train
from cyclegan_gc.train.progress import curves_of, progress_plot, write_progress


def labels(axes: Axes) -> set[str]:
    return {str(line.get_label()) for line in axes.lines}


def test_every_validation_renews_the_plot_and_the_page_with_time_score_and_pictures(small_config, tmp_path):
    first, whole = (replace(small_config, output=tmp_path, stop_at=stop, resume="auto") for stop in (10, None))
    train(first)
    before = (tmp_path / "progress.png").read_bytes()
    train(whole)
    text = (tmp_path / "index.html").read_text()
    assert "Step 20 of 20, 0:00:00 left." in text and re.search(r"Validation score \d+\.\d+", text)
    assert (tmp_path / "progress.png").read_bytes() != before
    assert read_png(tmp_path / "progress.png").shape[1] == 750
    sources = re.findall(r'src="([^"]+)"', text)
    assert sources[0] == "progress.png" and len(sources) >= 5
    assert all((tmp_path / source).is_file() for source in sources)
    assert all("step_0000020" in source for source in sources[1:])
    assert "http" not in text and "<script" not in text and str(tmp_path) not in text


def test_the_plot_has_each_loss_in_its_part_and_leaves_out_what_is_not_finite():
    lines = [
        {"step": 10, "time": 1.0, "cycle_mr": 0.5, "cycle_ct": None, "discriminator_ct": 0.2},
        {"step": 20, "time": 2.0, "cycle_mr": 0.4, "discriminator_ct_on_real": 0.9, "validation/score": 7.0},
        {"step": 20, "time": 2.0, "alarm": "identity", "message": "copies"},
    ]
    curves = curves_of(lines)
    assert curves["loss/cycle_mr"] == ([10, 20], [0.5, 0.4]) and "loss/cycle_ct" not in curves
    losses, discriminators, score = progress_plot(curves).axes
    assert (
        labels(losses) == {"cycle_mr"} and labels(discriminators) == {"guessing", "ct"} and labels(score) == {"score"}
    )
    assert not math.isnan(score.get_ylim()[0])


def test_alarms_stand_on_the_page(tmp_path):
    lines = [{"step": 10, "time": 1.0, "alarm": "identity", "message": "copies <its input>"}]
    write_progress(tmp_path, lines, ["Step 10 of 20."], {})
    text = (tmp_path / "index.html").read_text()
    assert "<li>copies &lt;its input&gt;</li>" in text
