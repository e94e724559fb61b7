"""An accuracy study from question to result: draw the networks of each arm, train them all, compare the orders."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from qedeploy.campaign.accuracy.analysis import FEWEST_NETWORKS, ArmNetwork, ArmResult, analysed
from qedeploy.campaign.accuracy.arms import Arm
from qedeploy.campaign.accuracy.drawing import Scored, draw
from qedeploy.campaign.accuracy.estimates import known_of
from qedeploy.campaign.accuracy.question import AccuracyCorrelation, AccuracyQuestion
from qedeploy.campaign.accuracy.report import write_accuracy_correlation
from qedeploy.campaign.accuracy.training import Failed, Trained, Training, outcome_of, structure_key, train_network
from qedeploy.campaign.journal import RowJournal
from qedeploy.errors import Interrupted, RequestError
from qedeploy.executors import open_workers, run_jobs

Watch = Callable[[str, int, int], None]
"""Gets what is being done, how much of it is done, and how much there is."""


def study(
    question: AccuracyQuestion,
    folder: Path | None,
    *,
    workers: int = 1,
    cluster: str | None = None,
    watch: Watch = lambda _what, _done, _total: None,
) -> AccuracyCorrelation:
    """Answer a question with so many trainings at a time, here or on `cluster`, and write the answer into `folder`.

    What the folder has already is not trained again. Raises RequestError where an arm has too few networks or too few
    came back; Interrupted on Ctrl-C where the folder keeps what was trained until then.
    """
    with ExitStack() as stack:
        kept = folder or Path(stack.enter_context(TemporaryDirectory()))
        journal = question.journal(kept)
        try:
            known = _finished(journal)
            drawn = _drawn(question, watch)
            _train(question, drawn, known, journal, kept, workers, cluster, watch)
        except KeyboardInterrupt as stop:
            if folder is None:
                raise
            raise Interrupted(f"{folder} keeps what was trained; the same command goes on") from stop
    arms = tuple(_result(question, arm, found, known) for arm, found in drawn.items())
    result = AccuracyCorrelation(question=question, arms=arms)
    if folder is None:
        return result
    return dataclasses.replace(result, written=write_accuracy_correlation(folder, result))


def _drawn(question: AccuracyQuestion, watch: Watch) -> dict[Arm, tuple[Scored, ...]]:
    return {
        arm: draw(
            question.request,
            question.held,
            arm,
            question.networks,
            seed=question.seed,
            progress=lambda done, total: watch("drawing", done, total),
        )
        for arm in question.arms
    }


def _finished(journal: RowJournal) -> dict[tuple[str, int], Trained | Failed]:
    try:
        outcomes = [outcome_of(row) for row in journal.rows()]
    except (KeyError, TypeError, ValueError) as error:
        raise journal.incomplete(error) from error
    return {(one.key, one.seed): one for one in outcomes}


def _train(
    question: AccuracyQuestion,
    drawn: Mapping[Arm, tuple[Scored, ...]],
    known: dict[tuple[str, int], Trained | Failed],
    journal: RowJournal,
    folder: Path,
    workers: int,
    cluster: str | None,
    watch: Watch,
) -> None:
    """Train what `known` lacks and add it there, all networks with one seed before any with the next."""
    # One in two arms is trained once.
    structures = dict.fromkeys(one.structure for found in drawn.values() for one in found)
    jobs = [
        Training(
            structure=structure,
            seed=question.seed + number,
            profile=question.request.profile_argument,
            data=question.data,
            recipe=question.recipe,
            threads=question.threads,
            # The devices of a cluster need not see this folder.
            folder=None
            if cluster is not None
            else folder / "networks" / f"{structure_key(structure)}-{question.seed + number}",
        )
        for number in range(question.seeds)
        for structure in structures
    ]
    missing = [job for job in jobs if (job.key, job.seed) not in known]
    done = len(jobs) - len(missing)
    watch("training", done, len(jobs))
    with open_workers(workers, cluster) as pool:
        for outcome in run_jobs(pool, train_network, missing):
            done += 1
            if outcome.result is not None:
                journal.add(dataclasses.asdict(outcome.result))
                known[outcome.result.key, outcome.result.seed] = outcome.result
            watch("training", done, len(jobs))


def _result(
    question: AccuracyQuestion, arm: Arm, drawn: tuple[Scored, ...], known: Mapping[tuple[str, int], Trained | Failed]
) -> ArmResult:
    seeds = range(question.seed, question.seed + question.seeds)
    networks, failures = [], []
    for one in drawn:
        key = structure_key(one.structure)
        outcomes = [known[key, seed] for seed in seeds if (key, seed) in known]
        failures += [outcome for outcome in outcomes if isinstance(outcome, Failed)]
        if trained := tuple(outcome for outcome in outcomes if isinstance(outcome, Trained)):
            figures = known_of(one.structure, question.request.space, question.request.profile)
            networks.append(ArmNetwork(structure=one.structure, known=figures, trained=trained))
    if len(networks) < FEWEST_NETWORKS:
        reason = f": {failures[0].failure}" if failures else ""
        raise RequestError(
            f"{arm}: {len(networks)} of {len(drawn)} networks could be trained, too few to compare: expected at least "
            f"{FEWEST_NETWORKS}{reason}"
        )
    return analysed(arm, networks, failures, len(drawn) - len(networks), seed=question.seed)
