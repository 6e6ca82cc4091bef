import json
import re
import zlib
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import Page, needs_browser, opened

from cyclegan_gc.formats.geometry import to_ras
from cyclegan_gc.pictures.planes import middle_planes
from cyclegan_gc.pictures.tiles import Scale
from cyclegan_gc.pictures.viewer import Layer, viewer_page

FLIPPED = np.array([[0, -3, 0, 90], [0, 0, 4, -50], [-2, 0, 0, 60], [0, 0, 0, 1.0]])
"""File axes run down, left and front."""
SHAPE = (20, 24, 28)
HU = np.random.default_rng(0).integers(-1000, 1300, SHAPE).astype(np.int16)
MASK = np.ones(SHAPE, bool)
WIDTHS = (1400, 400)


def page_of(case: str = "a", error_hu: int = 7) -> str:
    """The page of an MR and two CTs that differ by a constant."""
    mr = Layer("MR", HU + 1000, Scale(0, 2550, ""))
    layers = [mr, Layer("synthetic CT", HU), Layer("true CT", HU - error_hu)]
    return viewer_page(case, [], layers, MASK, FLIPPED, difference=True)


def volumes_in(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="volumes">(.*?)</script>', page)
    assert found
    return json.loads(found[1])


def unpacked(volumes: dict, layer: int, kind: str) -> np.ndarray:
    steps = np.frombuffer(zlib.decompress(b64decode(volumes["layers"][layer]["data"])), kind)
    return np.cumsum(steps, dtype=kind).reshape(volumes["shape"])


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "a_sct.html"
    path.write_text(page_of(), encoding="utf-8")
    return path


@pytest.fixture(params=WIDTHS)
def page(request, file, tmp_path):
    with opened(file, request.param, tmp_path / "profile") as shown:
        shown.wait_for("panels.length")
        yield shown


def values(page: Page) -> list[str]:
    return page.value('[...document.querySelectorAll(".panels output")].map((each) => each.textContent)')


def pressed(page: Page) -> list[str]:
    return page.value('[...document.querySelectorAll("[aria-pressed=true]")].map((each) => each.name)')


def place(page: Page) -> int:
    return int(page.value('document.querySelector("#place").textContent.split(" ")[0]'))


def middle(page: Page, selector: str) -> tuple[float, float]:
    box = page.box(selector)
    return box["left"] + box["width"] / 2, box["top"] + box["height"] / 2


def test_coarse_volumes_are_kept_voxel_by_voxel():
    volumes = volumes_in(page_of())
    assert np.array_equal(unpacked(volumes, 1, "<i2"), to_ras(HU, FLIPPED)[0])


def test_fine_volumes_become_means_that_keep_their_sum_and_their_size_in_mm():
    spacing_mm = np.array([1.0, 0.5, 2.0])
    hu = np.random.default_rng(1).integers(-1000, 1000, (24, 32, 10))
    page = viewer_page("a", [], [Layer("a", hu), Layer("b", hu)], hu > -2000, np.diag([*spacing_mm, 1]))
    volumes = volumes_in(page)
    assert volumes["shape"] == [12, 8, 10]
    assert np.allclose(np.array(volumes["shape"]) * volumes["spacing_mm"], spacing_mm * hu.shape)
    assert unpacked(volumes, 0, "<i2").mean() == pytest.approx(hu.mean(), abs=0.05)


def test_a_page_stays_below_3_mb_even_if_nothing_can_be_compressed():
    noise = np.random.default_rng(0).integers(-3000, 3000, (150, 140, 130)).astype(np.int16)
    layers = [Layer("MR", noise, Scale(-3000, 3000)), Layer("synthetic CT", noise), Layer("true CT", noise)]
    page = viewer_page("a", [], layers, noise > 0, np.diag([1.5, 1.5, 1.5, 1]), difference=True)
    volumes = volumes_in(page)
    assert 2_000_000 < len(page.encode()) < 3_000_000 and volumes["spacing_mm"][0] > 2


def test_values_that_are_no_numbers_or_beyond_16_bits_make_a_page():
    hu = np.full(SHAPE, np.nan, np.float32)
    hu[:, :, 14:] = 1e6
    shown = unpacked(volumes_in(viewer_page("a", [], [Layer("a", hu)] * 2, MASK, FLIPPED)), 0, "<i2")
    assert set(np.unique(shown)) == {0, 32767}


def test_names_cannot_leave_their_place_and_nothing_is_fetched():
    class Scripts(HTMLParser):
        count = 0

        def handle_starttag(self, tag, attrs):
            self.count += tag == "script"
            assert tag not in ("link", "img", "iframe") and not {"src", "href"} & {name for name, _ in attrs}

    name = "</script><script>alert(1)</script>"
    page = viewer_page(name, [], [Layer(name, HU)] * 2, MASK, FLIPPED)
    scripts = Scripts()
    scripts.feed(page)
    assert scripts.count == 2 and "default-src 'none'" in page and not re.search(r"https?:", page)


@needs_browser
def test_the_browser_shows_the_file_and_asks_for_nothing_else(page, file):
    assert page.requested == [file.as_uri()]
    names = page.value('[...document.querySelectorAll(".panels figcaption span")].map((each) => each.textContent)')
    assert names[:3] == ["MR", "synthetic CT", "true CT"] and names[3].startswith("overlay") and "−500" in names[4]


@needs_browser
def test_the_values_under_the_pointer_are_those_of_the_voxel_in_each_plane(page):
    for key, plane in zip("123", middle_planes(MASK, FLIPPED), strict=True):
        page.key(key)
        cut, (height_mm, width_mm) = plane.cut(HU), plane.pixel_mm
        height, width = cut.shape[0] * height_mm, cut.shape[1] * width_mm
        row, column = cut.shape[0] // 4, cut.shape[1] // 3
        box = page.box("canvas")
        scale = box["width"] / max(height, width)
        x = box["left"] + box["width"] / 2 + ((column + 0.5) * width_mm - width / 2) * scale
        y = box["top"] + box["height"] / 2 + ((row + 0.5) * height_mm - height / 2) * scale
        page.move(x, y)
        hu = int(cut[row, column])
        mr, synthetic, true, overlay, error = values(page)
        assert synthetic == f"{hu} HU".replace("-", "−") and true == f"{hu - 7} HU".replace("-", "−")
        assert float(mr.strip("≥≤ ")) == pytest.approx(hu + 1000, abs=10) and (overlay, error) == ("", "+7 HU")
        letters = page.value('[...document.querySelectorAll("figure:first-child .side")].map((s) => s.textContent)')
        assert "".join(letters[:2]) == plane.sides


@needs_browser
def test_keys_choose_plane_slice_window_and_blend(page):
    assert pressed(page) == ["axial", "bone"]
    before = place(page)
    page.key("ArrowUp")
    assert place(page) == before + 1
    for key, chosen in (("2", ["coronal", "bone"]), ("s", ["coronal", "soft tissue"]), ("r", ["coronal", "brain"])):
        page.key(key)
        assert pressed(page) == chosen
    page.key("1")
    assert place(page) == before + 1, "each plane keeps its slice"
    page.key("ArrowRight")
    assert page.value('document.querySelector("#share").textContent') == "55 %"


@needs_browser
def test_sliders_are_dragged_and_the_wheel_turns_slices(page):
    x, y = middle(page, "#slice")
    page.drag((x, y), (x + 200, y))
    assert place(page) == SHAPE[0], "the last slice"
    page.turn_wheel(*middle(page, "canvas"), steps=2)
    page.wait_for(f'document.querySelector("#place").textContent.startsWith("{SHAPE[0] - 2} ")')
    x, y = middle(page, "#blend")
    page.drag((x, y), (x - 200, y))
    assert page.value('document.querySelector("#share").textContent') == "0 %"
    page.key("2")
    assert pressed(page) == ["coronal", "bone"], "letters and digits count while a slider has the focus"


@needs_browser
def test_a_drag_on_a_picture_changes_the_window(page):
    x, y = middle(page, "figure:nth-child(2) canvas")
    page.drag((x, y), (x - 20, y + 10))
    assert page.value("state.window") == [-500 + 40 + 20, 1300 - 40 + 20] and pressed(page) == ["axial"]


@needs_browser
def test_the_blend_goes_from_the_mr_to_the_ct_and_windows_clip(page):
    pixels = "[...panels[{}].canvas.getContext('2d').getImageData(0, 0, SIDE, SIDE).data]"
    same = f"JSON.stringify({pixels.format(0)}) === JSON.stringify({pixels.format(3)})"
    assert not page.value(same)
    page.value('document.querySelector("#blend").value = 0; show()')
    assert page.value(same)
    greys = "new Set([...painted(panels[1].colour).getContext('2d').getImageData(0, 0, 24, 28).data]).size"
    page.key("b")
    many = page.value(greys)
    page.value("state.window = [200, 201]; show()")
    assert page.value(greys) == 2 < many
