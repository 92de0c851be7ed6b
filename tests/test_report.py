"""The report shows what the record holds, tagged, in a page that loads nothing and files that are whole."""

import io
import os
import re
from html.parser import HTMLParser

import pytest
from experiments.example import example_record
from rich.console import Console

from tinytorch import report
from tinytorch.experiments import from_json
from tinytorch.experiments.records import Section, Statement, Summary, Table
from tinytorch.quantities import Measured, Modelled, Quoted
from tinytorch.report import files


class Page(HTMLParser):
    """What a browser would see: text, links, ids, and anything it would have to load."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self, text):
        super().__init__()
        self.loads, self.links, self.ids, self.open, self.numbers, self.tags = [], [], [], [], 0, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("script", "link", "iframe", "img", "object", "embed"):
            self.loads.append(tag)
        self.loads += [value for name, value in attributes.items() if name in ("src", "srcset", "data")]
        for name in ("href", "xlink:href"):
            if name in attributes:
                self.links.append(attributes[name])
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if attributes.get("class") == "number":
            self.numbers += 1
        if (attributes.get("class") or "").startswith("tag "):
            self.tags.append((attributes["class"].split()[1], attributes.get("title")))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()


@pytest.fixture(scope="module")
def page():
    return report.page(example_record())


def test_page_is_well_formed_and_loads_nothing(page):
    seen = Page(page)
    assert seen.open == []
    assert seen.loads == []
    assert "@import" not in page
    assert all(re.match(r"url\(#", match) for match in re.findall(r"url\([^)]*", page))


def test_links_inside_the_page_lead_somewhere_and_ids_are_unique(page):
    seen = Page(page)
    assert len(seen.ids) == len(set(seen.ids))
    inside = [link[1:] for link in seen.links if link.startswith("#")]
    assert "summary" in inside and set(inside) <= set(seen.ids)
    assert set(re.findall(r"url\(#([^)]*)\)", page)) <= set(seen.ids)


def test_every_number_carries_its_tag(page):
    titles = [title for _, title in Page(page).tags if title]
    assert "measured, n = 8" in titles
    assert "quoted: a paper" in titles
    assert "modelled: a − b" in titles
    # One for each number in tables, statements and the machine's line; figures and the legend carry tags of
    # their own.
    record = example_record()
    tables = [
        cell for section in record.sections for table in section.tables for row in table.rows for cell in row
    ]
    summary = [
        getattr(line, name)
        for line in record.summaries
        for name in ("speedup", "compression", "accuracy_loss")
    ]
    spoken = [
        q
        for section in record.sections
        for statement in section.statements
        for q in statement.quantities.values()
    ]
    numbers = [
        cell
        for cell in [*tables, *summary, *spoken, record.noise]
        if isinstance(cell, Measured | Modelled | Quoted)
    ]
    assert len(titles) == len(numbers)


def test_text_is_escaped(page):
    assert "It &lt;helps&gt;" in page
    assert "Times &amp; &lt;sizes&gt;" in page


def test_pictures_are_inside(page):
    assert page.count("<svg") == 4


def test_partial_record_says_so():
    record = example_record(status="partial")
    assert "interrupted" in report.page(record)
    assert "interrupted" in terminal_text(record)


def test_empty_record_can_be_shown():
    record = example_record(status="partial")
    record.sections.clear()
    record.noise = None
    assert Page(report.page(record)).open == []
    assert terminal_text(record)


def terminal_text(record, width=200):
    console = Console(width=width, record=True, file=io.StringIO())
    report.show(record, console)
    return console.export_text()


def test_terminal_shows_findings_summary_and_origins():
    text = terminal_text(example_record())
    assert "It is 3× [2.90 to 3.10] faster." in text
    assert "4× (quoted)" in text
    assert "0.100% (modelled)" in text
    assert "pays from" in text and "hurts when" in text
    assert "Noise floor" in text


def test_terminal_does_not_read_markup_from_texts():
    record = example_record()
    record.sections = [
        Section(
            "odd",
            "[bold]odd[/]",
            ["a [red]b"],
            statements=[Statement("[x]")],
            tables=[Table("[t]", ["[c]"], [["[v]"]])],
            summaries=[Summary("[s]")],
        )
    ]
    text = terminal_text(record)
    for part in ("[bold]odd[/]", "a [red]b", "[x]", "[t]", "[c]", "[v]", "[s]"):
        assert part in text


def test_saved_files_are_the_record_and_the_page(tmp_path):
    record = example_record()
    json_file, html_file = report.save(record, tmp_path)
    assert from_json(json_file.read_text(encoding="utf-8")) == record
    assert html_file.read_text(encoding="utf-8") == report.page(record)
    assert sorted(os.listdir(tmp_path)) == [files.HTML_NAME, files.JSON_NAME]


def test_folder_is_made_or_refused_before_any_work(tmp_path):
    report.prepare_folder(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").is_dir()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="--out DIR"):
        report.prepare_folder(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "in the way"
