"""The finding in one sentence."""

import pytest

from orfila_engine.evidence import Evidence
from orfila_engine.finding import sentence


def evidence(p: float, verdict: str = "poisoning found") -> Evidence:
    return Evidence(verdict, "usual", p, p, p, 1.0, 0.1, 0.0, 40, 199)


@pytest.mark.parametrize(
    ("p", "told"),
    [(0.0004, "p < 0.001"), (0.005, "p = 0.005"), (0.01, "p = 0.01"), (0.017, "p = 0.017"), (0.25, "p = 0.25")],
)
def test_the_p_value_is_told_to_a_thousandth_as_the_interface_does(p, told):
    said = sentence(evidence(p), 12, 1_400, 140, "7")
    assert said == f"Poisoning found: 12 of 1,400 training images explain why the model says '7' ({told})."


def test_no_evidence_says_so_and_what_was_flagged_by_verdicts():
    nothing = evidence(0.6, "no evidence of poisoning")
    assert sentence(nothing, 0, 1_400, 140, "7").startswith("No evidence of poisoning: none of the 140 suspects")
    assert sentence(nothing, 1, 1_400, 140, "7", 3).endswith("(p = 0.60); after 3 verdicts, 1 is flagged.")
