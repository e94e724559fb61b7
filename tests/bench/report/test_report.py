"""The report stands alone: parses, asks nothing of a network, and shows what was found."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import pytest

from qedeploy.bench.benchmark import benchmark
from qedeploy.bench.gates import TimingVerdict
from qedeploy.bench.measure.interleave import Ratio
from qedeploy.bench.prediction.prediction import compare
from qedeploy.bench.prediction.table_update import TableUpdate
from qedeploy.bench.report.document import read_result, to_text
from qedeploy.bench.report.headline import headline
from qedeploy.bench.report.report import render
from qedeploy.bench.report.surroundings import AccuracyRecord, BudgetUse, SearchRecord, Surroundings
from qedeploy.cli.bench_tables import print_headline, print_result
from qedeploy.network.structure import Bits
from qedeploy.rulings import Ruling
from qedeploy.train.class_report import ClassAccuracy, ClassAnswers
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


def test_the_first_screen_says_what_where_when_and_the_verdict(results):
    html = render(results[0])
    said = headline(results[0])
    heading = html[html.index("<h1>") : html.index("</h1>")]
    for part in ("model.onnx", "cpu-int8", results[0].machine.cpu, results[0].created[:10]):
        assert part in heading
    assert html.index(said.text[1:]) < html.index("This model and its baselines") < html.index("Where the time goes")
    assert html.index("Where the time goes") < html.index("What was found") < html.index("<details>")
    assert f'class="verdict {said.tone}"' in html


def test_every_layer_can_be_hovered_and_filtered_by_its_kind(results):
    html = render(results[0])
    for row in results[0].profiled.layers:
        assert html.count(f"<title>{row.name}: ") >= 2
        assert f'<tr data-kind="{row.kind}"><td><span class="dot"></span>{row.name}</td>' in html


def test_one_scatter_where_every_layer_runs_in_its_own_widths(results):
    result = results[0]
    rows = tuple(dataclasses.replace(row, nominal_bitops=row.executed_bitops) for row in result.profiled.layers)
    html = render(dataclasses.replace(result, profiled=dataclasses.replace(result.profiled, layers=rows)))
    assert "Nominal BitOps against time" in render(result)
    assert "Nominal BitOps against time" not in html
    assert "BitOps against time" in html


def test_what_lies_beside_the_model_is_shown_and_what_is_unknown_is_said(results):
    assert "counts what this file gets right" in render(results[0])
    budget = BudgetUse(name="bitops", label="nominal BitOps", used=6.9e9, limit=7e9, used_text="6.9G", limit_text="7G")
    around = Surroundings(
        network="a network",
        elsewhere="Some Runtime",
        search=SearchRecord(recipe="r", profile="p", score=12.5, proof="proven <best>", budgets=(budget,)),
        accuracy=AccuracyRecord(top1=0.5, interval=(0.45, 0.55), images=400, data="photos", runtime="a runtime"),
    )
    html = render(dataclasses.replace(results[0], surroundings=around))
    for text in ("a network (model.onnx)", "6.9G of 7G nominal BitOps (98.6 %)", "12.500, proven &lt;best&gt;"):
        assert text in html
    assert "top-1 50.00% [45.00%, 55.00%] of 400 images of photos" in html
    assert html.index("Exported for Some Runtime, timed on this CPU") < html.index("<h1>")


def test_what_it_gets_right_is_shown_class_by_class_and_kept_in_the_document(results, tmp_path):
    found = [("bag", 2, 3, 0), ("<b>boot", 1, 1, 1), ("empty", 0, 0, 0)]
    rows = [ClassAccuracy(name=name, right=right, count=count, also=also) for name, right, count, also in found]
    answers = ClassAnswers.of(rows, [[2, 1, 0], [0, 1, 0], [0, 0, 0]])
    known = AccuracyRecord(top1=0.75, interval=(0.3, 0.95), images=4, data="set", runtime="r", answers=answers)
    result = dataclasses.replace(results[0], surroundings=Surroundings(accuracy=known))
    html = render(result)
    page = parse(html)
    assert "1 of 3 bag said to be <b>boot" in page.words
    assert "66.7 %" in page.words
    assert ("rect", "0.387") in {(tag, found.get("fill-opacity")) for tag, found in page.elements}
    assert "image" not in {tag for tag, _ in page.elements}
    assert "<b>boot" not in html
    (tmp_path / "bench.json").write_text(to_text(result))
    assert read_result(tmp_path / "bench.json").surroundings == result.surroundings
    for text in (
        render(results[0]),
        render(
            dataclasses.replace(
                result,
                surroundings=Surroundings(accuracy=dataclasses.replace(known, answers=None)),
            )
        ),
    ):
        assert "class by class" not in text


def test_a_withheld_ratio_is_on_no_page_and_on_no_screen(results):
    from rich.console import Console

    own, twin, *_ = results[0].compared
    withheld = dataclasses.replace(
        twin, ratio=Ratio(value=5.61, low=4.0, high=7.0, rounds=15), withheld="the two vary by 84% and 116%"
    )
    result = dataclasses.replace(results[0], compared=(own, withheld))
    console = Console(width=140)
    with console.capture() as captured:
        print_result(result, console, verbose=True)
        print_headline(result, console)
    for text in (render(result), captured.get()):
        assert "withheld" in text
        assert "5.61x" not in text


def test_names_are_escaped(results):
    html = render(results[1])
    assert "<b>plain" not in html
    assert "&lt;b&gt;plain.onnx" in html


def test_verdicts_are_shown_in_the_report_and_on_the_terminal(results):
    from rich.console import Console

    verdicts = tuple(TimingVerdict(gate="p50>1x", outcome=outcome, sentence=f"gate {outcome}") for outcome in Ruling)
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
    told = [found for tag, found in page.elements if tag == "tr" and found.get("data-kind") == "depthwise"]
    assert len(told) >= 2 * sum(row.kind == "depthwise" for row in result.profiled.layers)
    assert "1.50 times as long as with the table" in shown


def test_a_table_of_another_machine_is_shown_as_none_of_this_run(results):
    structure = small_structure(Bits(weight=8, activation=8))
    expectation = dataclasses.replace(
        expectation_of(structure, table_for(structure)), differences=("<4> threads instead of 1 thread",)
    )
    prediction = compare(expectation, profile_of(structure, 2e-5), 1e-3, pace=None)
    html = render(dataclasses.replace(results[0], prediction=prediction))
    assert "no prediction of this run: the table has &lt;4&gt; threads instead of 1 thread" in html
