import pytest

from ldc.evaluation.bootstrap import Estimate
from ldc.evaluation.verdicts import expectations, verdict

BELOW, ABOVE, AROUND = Estimate(-1.0, -2.0, -0.5), Estimate(1.0, 0.5, 2.0), Estimate(-1.0, -2.0, 0.1)


@pytest.mark.parametrize(
    ("difference", "metric", "expected", "said"),
    [
        (BELOW, "kid", "better", "yes"),
        (BELOW, "kid", "worse", "no"),
        (BELOW, "fidelity_top1", "better", "no"),
        (ABOVE, "fidelity_top1", "better", "yes"),
        (ABOVE, "kid", "worse", "yes"),
        (ABOVE, "kid", "similar", "no"),
        (AROUND, "kid", "better", "not separable"),
        (AROUND, "kid", "similar", "not separable"),
        (BELOW, "kid", None, None),
    ],
)
def test_the_interval_alone_decides(difference, metric, expected, said):
    assert verdict(difference, metric, expected) == said


def test_one_word_is_expected_of_both_figures():
    assert expectations("better") == {"kid": "better", "fidelity_top1": "better"}
    assert expectations({"kid": "worse"}) == {"kid": "worse", "fidelity_top1": None}
    assert expectations(None) == {"kid": None, "fidelity_top1": None}


@pytest.mark.parametrize("expect", ["lower", {"kid": "lower"}])
def test_an_unknown_word_is_refused(expect):
    with pytest.raises(ValueError, match="expect must be better, worse, similar or null, not 'lower'"):
        expectations(expect)


def test_an_unknown_figure_is_refused():
    with pytest.raises(ValueError, match="expect must be given for kid or fidelity_top1, not 'fid'"):
        expectations({"fid": "better"})
