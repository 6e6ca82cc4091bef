import re
import shutil
from dataclasses import replace

from cyclegan_gc.config import ConvertConfig
from cyclegan_gc.convert.batch import convert
from cyclegan_gc.convert.estimate import LONG, estimate
from cyclegan_gc.convert.job import Job
from cyclegan_gc.convert.plan import plan
from cyclegan_gc.model.networks import ResnetGenerator
from cyclegan_gc.trained_model import Member, members_of


def seconds(sentence: str) -> float:
    number, unit = re.findall(r"about ([\d.]+) (s|min|h)", sentence)[0]
    return float(number) * {"s": 1, "min": 60, "h": 3600}[unit]


def least(jobs: list[Job], members: list[Member]) -> float:
    """Of five estimates, since other programs may slow a pass down."""
    return min(seconds(estimate(jobs, members)) for _ in range(5))


def test_it_grows_with_cases_and_planes_and_passes_over_what_cannot_be_read(translator, source, tmp_path):
    for number in range(LONG):
        shutil.copy(source, tmp_path / f"{number}.nii.gz")
    (tmp_path / "broken.nii.gz").write_bytes(b"no volume")
    jobs, _ = plan(ConvertConfig(tmp_path / "x.pt", str(tmp_path), tmp_path / "out"))
    assert len(jobs) == LONG + 1
    # Many members: on a busy machine the time of one is lost in that of reading.
    planes = members_of([translator], translator.slice_axes)
    one, many = (estimate(jobs * 50, members) for members in (planes[:1], 20 * planes))
    assert one.startswith("550 cases, about") and "GB of memory" in one
    assert seconds(many) > seconds(one) > 0


def test_planes_that_are_left_out_take_no_time(translator, thick_slices, tmp_path):
    jobs, _ = plan(ConvertConfig(tmp_path / "x.pt", str(thick_slices), tmp_path / "out"))
    kept, named = (100 * members_of([translator], planes) for planes in (None, translator.slice_axes))
    assert least(jobs * 50, named) > 1.5 * least(jobs * 50, kept)  # one plane of three


def test_several_contrasts_cost_about_as_much_as_one(translator, source, tmp_path):
    """The network's first layer alone sees them."""
    jobs, _ = plan(ConvertConfig(tmp_path / "x.pt", str(source), tmp_path / "out"))
    two = replace(translator, generator=ResnetGenerator(32, 2, in_channels=2).eval(), contrasts=("_a", "_b"))
    one = replace(translator, generator=ResnetGenerator(32, 2).eval())
    times = [least(jobs * 500, members_of([each], ("axial",))) for each in (one, two)]
    assert 0.7 * times[0] < times[1] < 2 * times[0]


def test_a_long_batch_is_told_before_it_starts_and_a_short_one_is_not(checkpoint, source, tmp_path):
    told = []
    for count in (2, LONG):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            shutil.copy(source, folder / f"{number}.nii.gz")
        config = ConvertConfig(checkpoint, str(folder), folder / "out", device="cpu")
        convert(config, started=lambda jobs, notes: told.append(notes))
    assert told[0] == [] and told[1][-1].startswith(f"{LONG} cases, about")
