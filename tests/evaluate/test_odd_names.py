import numpy as np

from cyclegan_gc.evaluate.evaluation import evaluate
from cyclegan_gc.evaluate.matching import Sources
from cyclegan_gc.evaluate.plots import plots_of, saved
from cyclegan_gc.evaluate.tables import summary_table
from cyclegan_gc.formats.volumes import read_volume, write_volume


def test_a_name_that_a_terminal_would_obey_is_escaped_in_tables_plots_and_failures(phantoms, tmp_path):
    [path] = (phantoms / "test" / "ct").iterdir()
    ct = read_volume(path)
    for folder, shift in (("ct", 0), ("sct", 20)):
        (tmp_path / folder).mkdir()
        for name in ("red\x1b[31m", "lone\x1b[31m") if folder == "sct" else ("red\x1b[31m", "more\x1b[31m"):
            write_volume(tmp_path / folder / f"{name}.nii", ct.array.astype(np.int16) + np.int16(shift), ct)
    found = evaluate(Sources(str(tmp_path / "sct"), str(tmp_path / "ct")), tmp_path / "out")
    plot = saved(plots_of(found)["agreement"], "svg").decode()
    for text in (summary_table(found), *found.failures, *found.notes, plot):
        assert "\x1b" not in text
    assert "red\\x1b[31m" in plot and "lone\\x1b[31m" in found.failures[0]
    assert found.notes[-1] == "True CTs without a synthetic one, left out: more\\x1b[31m."
