"""HTML pages that open from disk: nothing fetched, every text escaped."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote

from cyclegan_gc.errors import plain

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1250px; margin: 2em auto; padding: 0 1em;
  overflow-wrap: anywhere; }
h1 { margin-bottom: 0; line-height: 1.2; } h2 { margin-top: 2em; border-bottom: 1px solid #ccc; }
.disclaimer { color: #a00; font-weight: 600; }
.headline { font-size: 1.3em; line-height: 1.35; font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .25em .7em; text-align: right; vertical-align: top; border-bottom: 1px solid #e4e4e4;
  white-space: nowrap; }
th { vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child, .text { text-align: left; }
td.text { white-space: normal; overflow-wrap: anywhere; width: 55%; min-width: 17em; }
td.name { white-space: normal; overflow-wrap: anywhere; min-width: 15em; }
td ul { margin: 0; padding-left: 1.1em; }
thead th { border-bottom: 2px solid #888; }
tr.baseline td { color: #666; border-bottom-style: dotted; }
.pass { color: #176317; } .warn { color: #8a5a00; } .implausible, .fail, .failed { color: #a00; font-weight: 600; }
small { color: #666; }
img { max-width: 100%; height: auto; } .wide img { min-width: 50em; }
figure { margin: 1.5em 0; } figcaption { font-weight: 600; }
@media (max-width: 600px) { body { margin: 1em auto; } h1 { font-size: 1.5em; } th, td { padding: .25em .4em; }
  td.text { min-width: 8.5em; } td.name { min-width: 6em; } td ul { padding-left: .9em; } }
"""


class Html(str):
    """Text that is HTML already and is not escaped again."""


def html(text: str) -> Html:
    """A text as HTML: escaped, odd characters of names too, unless it is HTML already."""
    return text if isinstance(text, Html) else Html(escape(plain(text)))


def address(path: str) -> str:
    """The address of a file beside the page, of any bytes."""
    return quote(os.fsencode(path))


def element(tag: str, text: str, css: str = "") -> Html:
    """An HTML element around a text, with a CSS class."""
    attribute = f' class="{escape(css)}"' if css else ""
    return Html(f"<{tag}{attribute}>{html(text)}</{tag}>")


def link(address: str, text: str) -> Html:
    """A link to a file; the address is URL-quoted already."""
    return Html(f'<a href="{escape(address)}">{html(text)}</a>')


def section(heading: str, body: str) -> str:
    """A heading with HTML below it; empty where there is no HTML."""
    return f"<h2>{html(heading)}</h2>\n{body}" if body else ""


def bullets(lines: Sequence[str]) -> Html:
    """A list of lines; empty without a line."""
    return Html("<ul>" + "".join(f"<li>{html(line)}</li>" for line in lines) + "</ul>" if lines else "")


def table(
    header: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], kinds: Mapping[str, str] | None = None
) -> str:
    """A table in a box of its own that scrolls sideways where the page is narrow.

    Args:
        header: names of the columns.
        rows: each a CSS class and the cells.
        kinds: column -> CSS class of its cells: "text" wraps sentences, "name" wraps file names.
    """
    css = [(kinds or {}).get(name, "") for name in header]
    head = "".join(element("th", name, kind) for name, kind in zip(header, css, strict=True))
    body = "\n".join(
        f'<tr class="{escape(row_css)}">'
        + "".join(element("td", cell, kind) for cell, kind in zip(cells, css, strict=True))
        + "</tr>"
        for row_css, cells in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def figure(title: str, source: str, target: str | None = None) -> str:
    """A picture with its title, and the page that a click on it opens; addresses are URL-quoted already."""
    name = html(title)
    picture = Html(f'<img alt="{name}" src="{escape(source)}">')
    shown = link(target, picture) if target else picture
    return f"<figure><figcaption>{name}</figcaption>{shown}</figure>\n"


def page(title: str, parts: Sequence[str], head: str = "") -> str:
    """A whole page of HTML parts; ``head`` is more HTML for its head."""
    viewport = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f'<meta charset="utf-8">{head}{viewport}<title>{html(title)}</title><style>{STYLE}</style>'
    body = "\n".join([f"<h1>{html(title)}</h1>", *parts])
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'
