import pytest

from qedeploy.network.lightnas import from_blocks
from qedeploy.search.score.kinds.qe_score import qe_score, stage_scores


def test_score_equals_the_reference(golden):
    for record in golden:
        structure = from_blocks(record["structure"])
        assert qe_score(structure) == pytest.approx(record["score"], rel=1e-12)
        assert stage_scores(structure) == pytest.approx(record["score_list"], rel=1e-12)
