"""The report stands alone: parses, asks nothing of a network, and shows what was found."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import pytest

from qedeploy.bench.benchmark import benchmark
from qedeploy.bench.gates import Ruling, Verdict
from qedeploy.bench.prediction.prediction import compare
from qedeploy.bench.prediction.table_update import TableUpdate
from qedeploy.bench.report.report import render
from qedeploy.cli.bench_tables import print_result
from qedeploy.network.structure import Bits
from tests.bench.graphs import BRIEF_OPTIONS, convolution, exported
from tests.bench.latency_tables import expectation_of, profile_of, table_for
from tests.export.networks import small_structure

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects a page's elements and checks that each one is closed by its own end tag."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def parse(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    exported(folder / "model.onnx")
    plain = convolution(folder / "<b>plain.onnx")
    return benchmark(folder / "model.onnx", BRIEF_OPTIONS), benchmark(plain, BRIEF_OPTIONS)


def test_reports_parse_and_need_no_network(results):
    for result in results:
        html = render(result)
        page = parse(html)
        assert "://" not in html
        assert not {"src", "xlink:href", "srcset", "action"} & {name for _, found in page.elements for name in found}
        assert not {"link", "img", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
        hrefs = [found["href"] for _, found in page.elements if "href" in found]
        assert all(href.startswith("#") for href in hrefs)


def test_ids_are_unique_and_references_lead_somewhere(results):
    html = render(results[0])
    page = parse(html)
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    assert {found["href"][1:] for _, found in page.elements if "href" in found} <= set(ids)


def test_a_report_shows_every_finding_layer_and_plot(results):
    result = results[0]
    page = parse(render(result))
    shown = " ".join(" ".join(page.words).split())
    for sentence in (*result.findings, *result.warnings, *(row.name for row in result.profiled.layers)):
        assert sentence in shown
    assert sum(tag == "svg" for tag, _ in page.elements) == 3


def test_names_are_escaped(results):
    html = render(results[1])
    assert "<b>plain" not in html
    assert "&lt;b&gt;plain.onnx" in html


def test_verdicts_are_shown_in_the_report_and_on_the_terminal(results):
    from rich.console import Console

    verdicts = tuple(Verdict(gate="p50>1x", outcome=outcome, sentence=f"gate {outcome}") for outcome in Ruling)
    result = dataclasses.replace(results[0], verdicts=verdicts)
    console = Console(width=140)
    with console.capture() as captured:
        print_result(result, console)
    html = render(result)
    for verdict in verdicts:
        assert verdict.sentence in html
        assert verdict.sentence in captured.get()


def test_the_terminal_shows_every_layer_and_the_sum(results):
    from rich.console import Console

    for result in results:
        console = Console(width=140)
        with console.capture() as captured:
            print_result(result, console, verbose=True)
        text = captured.get()
        assert all(row.name in text for row in result.profiled.layers)
        assert "whole profiled query" in text
        assert "100.0 %" in text


def test_a_prediction_is_shown_layer_by_layer_with_its_table(results):
    from rich.console import Console

    structure = small_structure(Bits(weight=8, activation=8))
    expectation = expectation_of(structure, table_for(structure))
    prediction = compare(expectation, profile_of(structure, 2e-5), 1e-3, pace=1.5)
    update = TableUpdate(outcome=Ruling.WITHHELD, sentence="table.json was not updated: too few")
    result = dataclasses.replace(results[0], prediction=prediction, table_update=update)
    page = parse(render(result))
    shown = " ".join(" ".join(page.words).split())
    assert sum(tag == "svg" for tag, _ in page.elements) == 4
    console = Console(width=140)
    with console.capture() as captured:
        print_result(result, console)
    for text in (shown, " ".join(captured.get().split())):
        assert str(prediction.table) in text
        assert f"{prediction.error * 100:+.1f} %" in text
        assert prediction.worst(1)[0].name in text
        assert update.sentence in text
    assert shown.count("stage1.block1.depthwise") == 2
    assert "1.50 times as long as with the table" in shown


def test_a_table_of_another_machine_is_shown_as_none_of_this_run(results):
    structure = small_structure(Bits(weight=8, activation=8))
    expectation = dataclasses.replace(
        expectation_of(structure, table_for(structure)), differences=("<4> threads instead of 1 thread",)
    )
    prediction = compare(expectation, profile_of(structure, 2e-5), 1e-3, pace=None)
    html = render(dataclasses.replace(results[0], prediction=prediction))
    assert "no prediction of this run: the table has &lt;4&gt; threads instead of 1 thread" in html
