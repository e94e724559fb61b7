"""Whole accuracy studies of a few digits: real trainings, interrupted and gone on with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from qedeploy import api
from qedeploy.campaign.accuracy.estimates import Known
from qedeploy.campaign.accuracy.question import JOURNAL_FILE, AccuracyQuestion, training_recipe
from qedeploy.campaign.accuracy.training import Failed, Training, outcome_of, train_network
from qedeploy.errors import Interrupted, RequestError, UserError
from qedeploy.model.checkpoint import load_checkpoint
from qedeploy.network.costs import structure_costs
from qedeploy.network.layers import expand_layers
from qedeploy.network.structure_file import from_document
from qedeploy.train.recipe import with_changes
from tests.campaign.accuracy.small import write_digits, write_recipe
from tests.model.structures import tiny_structure


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_recipe(folder)
    write_digits(folder / "digits.npz")
    write_digits(folder / "train-only.npz", test=False)
    return folder


def studied(files, folder=None, **changes):
    asked = {
        "recipe": str(files / "small.toml"),
        "budgets": {"bitops": "8M"},
        "arms": ["widths-fixed"],
        "networks": 3,
        "epochs": 2,
        "float_epochs": 1,
        "seeds": 1,
        "workers": 0,
        **changes,
    }
    return api.correlate_accuracy("any-bits", files / "digits.npz", folder=folder, **asked)


def comparable(folder):
    document = json.loads((folder / "correlation.json").read_text())
    for network in document["results"][0]["networks"]:
        for one in network["trained"]:
            del one["seconds"]
    return document


@pytest.mark.slow
def test_networks_are_trained_alike_and_a_stopped_study_goes_on_to_the_same_end(files, tmp_path):
    def stop(what, done, _total):
        if (what, done) == ("training", 1):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="the same command goes on"):
        studied(files, tmp_path / "stopped", progress=stop)
    journal = tmp_path / "stopped" / JOURNAL_FILE
    assert len(journal.read_text().splitlines()) == 2
    with journal.open("a") as stream:
        stream.write('{"key": "half a li')
    seen = []
    result = studied(files, tmp_path / "stopped", progress=lambda *now: seen.append(now))
    assert [now for now in seen if now[0] == "training"] == [("training", done, 3) for done in (1, 2, 3)]
    studied(files, tmp_path / "whole")
    assert comparable(tmp_path / "stopped") == comparable(tmp_path / "whole")
    assert (tmp_path / "stopped" / "correlation.csv").read_text() == (
        tmp_path / "whole" / "correlation.csv"
    ).read_text()
    assert (tmp_path / "whole" / "correlation.svg").read_text().count("<svg") == 1

    (arm,) = result.arms
    for network in arm.networks:
        assert network.trained[0].images == 150
        assert 0 <= network.top1 <= 1
        assert [epoch for epoch, _ in network.trained[0].curve] == [1, 2]
        assert network.known[Known.LAYERS] == len(expand_layers(network.structure))
        assert network.known[Known.SIZE] > structure_costs(network.structure).size_bytes
        kept = load_checkpoint(tmp_path / "stopped" / "networks" / f"{network.trained[0].key}-0" / "model.pth")
        assert kept.structure == network.structure
    written = comparable(tmp_path / "whole")
    assert written["data"]["train_images"] == 300
    assert written["held"] == {"budget": "bitops", "least_share": 0.9}
    again = [from_document(one["structure"], "test") for one in written["results"][0]["networks"]]
    assert again == [network.structure for network in arm.networks]
    with pytest.raises(UserError, match=r"trainings with networks 3 instead of 4.*name another --out"):
        studied(files, tmp_path / "whole", networks=4)


def question(files, data="digits.npz", **changes):
    asked = {
        "budgets": {"bitops": "8M"},
        "arms": (),
        "networks": 3,
        "seeds": 1,
        "training": training_recipe(None, 1, 1),
        "resolution": None,
        "latency_table": None,
        "threads": 1,
        "seed": 0,
        **changes,
    }
    return AccuracyQuestion.of("any-bits", str(files / "small.toml"), files / data, **asked)


def test_a_question_that_cannot_be_answered_says_what_is_missing(files):
    assert [arm.value for arm in question(files).arms] == ["widths-fixed", "shapes-fixed"]
    with pytest.raises(UserError, match="sets no pictures apart to test on"):
        question(files, "train-only.npz")
    with pytest.raises(RequestError, match=r"name the budget.*--budget bitops=20M"):
        question(files, budgets={})
    with pytest.raises(UserError, match="--arm both: expected one of widths-fixed, shapes-fixed, free"):
        question(files, arms=["both"])


def test_a_training_whose_loss_is_no_number_is_told_and_ends_nothing(files):
    job = Training(
        structure=tiny_structure(),
        seed=0,
        profile="any-bits",
        data=files / "digits.npz",
        recipe=with_changes(training_recipe(None, 3, 0), {"rate": 1e3, "clip": 0.0}),
        threads=1,
        folder=None,
    )
    failed = train_network(job)
    assert isinstance(failed, Failed)
    assert "no number any more" in failed.failure
    assert outcome_of(json.loads(json.dumps(dataclasses.asdict(failed)))) == failed
