from html.parser import HTMLParser

from cyclegan_gc.evaluate.measures import Row
from cyclegan_gc.evaluate.report import write_report
from cyclegan_gc.evaluate.summary import Evaluation, summarise


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.sources: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_report_is_one_file_without_scripts_and_escapes_names(tmp_path):
    rows: list[Row] = [{"case": "<script>x</script>", "method": "sct", "resampled": None, "mae": 5.0}]
    evaluation = Evaluation(rows, summarise(rows), ["<b>: bad"], ["a & b"], {"<script>": b"png"})
    write_report(tmp_path / "r.html", evaluation, {})
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert not tags.seen & {"script", "link", "b", "i", "u", "iframe"}
    assert all(source.startswith("data:image/png;base64,") for source in tags.sources) and tags.sources
    assert "not a medical device" in text and [p.name for p in tmp_path.iterdir()] == ["r.html"]
