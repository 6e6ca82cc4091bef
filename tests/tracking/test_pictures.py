"""Pictures are part of a run in W&B only where the user asks for them."""

from pathlib import Path

import numpy as np
import pytest

from cyclegan_gc.config import WandbConfig
from cyclegan_gc.tracking import Picture, Table, WandbRun

OFFLINE = WandbConfig(mode="offline")
WITH_PICTURES = WandbConfig(mode="offline", images=True)
GREY = Picture(np.full((8, 8), 200, np.uint8), "MR, sCT")


def log_a_panel_and_a_table(run: Path, config: WandbConfig) -> None:
    table = Table(["case", "mae", "picture"], [["case-1", 5.0, GREY], ["case-2", 4.0, None]])
    with WandbRun(run, config, {}, job_type="train") as wandb_run:
        wandb_run.log({"global_step": 1, "cycle_mr": 0.5, "panels/mr_to_ct": GREY, "cases": table})


def test_an_offline_run_holds_no_picture_by_default(run, offline_runs, wandb_pictures):
    log_a_panel_and_a_table(run, OFFLINE)
    [offline] = offline_runs(run)
    [line] = offline.history
    assert line["cases/ncols"] == 2 and line["cases/nrows"] == 2 and line["cycle_mr"] == 0.5
    assert not any(name.startswith("panels/") for name in (*line, *offline.summary))
    assert wandb_pictures(run) == []


def test_with_images_the_panel_and_the_picture_column_are_there(run, offline_runs, wandb_pictures):
    log_a_panel_and_a_table(run, WITH_PICTURES)
    [offline] = offline_runs(run)
    [line] = offline.history
    assert line["cases/ncols"] == 3 and line["panels/mr_to_ct/caption"] == "MR, sCT"
    assert (offline.folder / "files" / line["panels/mr_to_ct/path"]) in wandb_pictures(run)


@pytest.mark.parametrize(
    ("config", "words"), [(OFFLINE, "W&B offline, without pictures"), (WITH_PICTURES, "W&B offline, with pictures")]
)
def test_the_first_line_says_whether_pictures_are_part_of_the_run_and_how_to_send_it(run, capsys, config, words):
    WandbRun(run, config, {}, job_type="train").finish()
    out = capsys.readouterr().out
    assert out.startswith(words) and f"cyclegan-gc sync {run}" in out and out.count("\n") == 1


@pytest.mark.parametrize(("config", "times"), [(OFFLINE, 0), (WITH_PICTURES, 1)])
def test_the_picture_of_a_tables_row_is_drawn_only_if_pictures_are_logged(run, config, times):
    drawn = []

    def draw() -> Picture:
        drawn.append(GREY)
        return GREY

    with WandbRun(run, config, {}, job_type="train") as wandb_run:
        wandb_run.log({"cases": Table(["case", "picture"], [["case-1", draw]])})
    assert len(drawn) == times
