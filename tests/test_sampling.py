"""Drawing a token: each filter against its definition, written out for one row in plain Python."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch.sampling import Sampling, keep_top_k, keep_top_p, penalize_repetition, softmax

# Apart enough that no rounding makes two of them equal.
LOGITS = st.lists(st.integers(-64, 64).map(lambda x: x / 8), min_size=2, max_size=12, unique=True)


def distribution(logits, seen, temperature, top_k, top_p, penalty):
    """What the definitions say, for one row: {token: probability}."""
    scores = {}
    for token, logit in enumerate(logits):
        if seen[token]:
            logit = logit / penalty if logit > 0 else logit * penalty
        scores[token] = logit / temperature
    if top_k is not None:
        kept = sorted(scores, key=scores.get, reverse=True)[:top_k]
        least = scores[kept[-1]]
        scores = {token: score for token, score in scores.items() if score >= least}
    largest = max(scores.values())
    weights = {token: math.exp(score - largest) for token, score in scores.items()}
    total = sum(weights.values())
    if top_p is not None:
        nucleus, mass = {}, 0.0
        for token in sorted(weights, key=weights.get, reverse=True):
            if mass >= top_p:
                break
            nucleus[token] = weights[token]
            mass += weights[token] / total
        weights, total = nucleus, sum(nucleus.values())
    return {token: weight / total for token, weight in weights.items()}


@given(
    LOGITS,
    st.integers(0, 2**12 - 1),
    st.floats(0.25, 4),
    st.none() | st.integers(1, 14),
    st.none() | st.floats(0.05, 0.999),
    st.floats(0.5, 2),
)
def test_the_distribution_is_the_defined_one(logits, seen, temperature, top_k, top_p, penalty):
    logits = np.array(logits)
    seen = np.array([seen >> i & 1 for i in range(len(logits))], bool)
    expected = distribution(logits.tolist(), seen, temperature, top_k, top_p, penalty)
    got = softmax(Sampling(temperature, top_k, top_p, penalty).scores(logits[None], seen[None]))[0]
    if top_p is not None:  # a sum that rounding may put on either side of p
        by_size = np.cumsum(
            sorted(distribution(logits.tolist(), seen, temperature, top_k, None, penalty).values())[::-1]
        )
        if np.abs(by_size - top_p).min() < 1e-9:
            return
    assert {token for token in range(len(logits)) if got[token] > 0} == {
        t for t, p in expected.items() if p > 0
    }
    for token, probability in expected.items():
        assert got[token] == pytest.approx(probability, rel=1e-9, abs=1e-12)


def test_top_p_keeps_the_token_that_crosses_p():
    logits = np.log([[0.15, 0.5, 0.05, 0.3]])
    for p, kept in (
        (0.01, [1]),
        (0.4999, [1]),
        (0.5001, [1, 3]),
        (0.79, [1, 3]),
        (0.81, [0, 1, 3]),
        (0.96, [0, 1, 2, 3]),
    ):
        assert np.flatnonzero(np.isfinite(keep_top_p(logits, p)[0])).tolist() == kept


def test_top_k_keeps_equals_and_top_p_enough_of_them():
    equal = np.zeros((1, 4))
    assert np.isfinite(keep_top_k(equal, 2)).all()
    assert np.isfinite(keep_top_p(equal, 0.5)).sum() == 2


def test_a_penalty_never_makes_a_token_likelier():
    logits, seen = np.array([[2.0, -2.0, 1.0, 0.0]]), np.array([[True, True, False, True]])
    np.testing.assert_allclose(penalize_repetition(logits, seen, 1.25), [[1.6, -2.5, 1.0, 0.0]])


def test_draws_follow_the_distribution():
    sampling = Sampling(0.8, top_k=4, top_p=0.9)
    logits = np.log(np.array([[0.4, 0.3, 0.15, 0.1, 0.05]], np.float32))
    expected = softmax(sampling.scores(logits))[0]
    drawn = sampling.choose(np.repeat(logits, 50_000, axis=0), np.random.default_rng(0))
    share = np.bincount(drawn, minlength=5) / len(drawn)
    assert share[expected == 0].sum() == 0 and (expected == 0).any()
    # Five standard deviations.
    assert (np.abs(share - expected) <= 5 * np.sqrt(expected * (1 - expected) / len(drawn))).all()


@pytest.mark.parametrize("temperature", [1e-300, 1e-5, 0])
def test_coldest_is_greedy_without_overflow(temperature):
    logits = np.array([[3.0, 80.0, 79.0], [-1e4, -3e4, -2e4]], np.float32)
    with np.errstate(all="raise", under="ignore", over="ignore"):
        drawn = Sampling(temperature).choose(logits, np.random.default_rng(0))
    assert drawn.tolist() == [1, 0]


def test_greedy_heeds_the_penalty():
    logits, seen = np.array([[2.0, 1.9, -1.0]]), np.array([[True, False, False]])
    assert Sampling(0, repetition_penalty=1.2).choose(logits, np.random.default_rng(0), seen) == [1]


MISUSE = [
    ({"temperature": -1.0}, ValueError, r"temperature must be 0 \(greedy\) or more"),
    ({"temperature": math.inf}, ValueError, "finite, got inf"),
    ({"temperature": math.nan}, ValueError, "got nan"),
    ({"temperature": "hot"}, TypeError, r"temperature must be a number, got 'hot' \(str\)"),
    ({"temperature": None}, TypeError, "temperature must be a number, got None"),
    ({"top_k": 0}, ValueError, "top_k must be at least 1, got 0. None draws among all"),
    ({"top_k": 2.5}, TypeError, "top_k must be a whole number of tokens, got 2.5"),
    ({"top_k": True}, TypeError, "whole number of tokens, got True"),
    ({"top_p": 0.0}, ValueError, "sum of probabilities, above 0 and at most 1, got 0.0"),
    ({"top_p": 90}, ValueError, "0.9 draws among the most likely tokens that make up 90 %"),
    ({"repetition_penalty": 0.0}, ValueError, "1 changes nothing, 1.2 discourages"),
    ({"repetition_penalty": None}, TypeError, "repetition_penalty must be a number"),
]


@pytest.mark.parametrize("settings, error, message", MISUSE)
def test_settings_that_make_no_sense_are_explained(settings, error, message):
    with pytest.raises(error, match=message):
        Sampling(**settings)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_of_a_diverged_model_are_an_error(bad):
    with pytest.raises(ValueError, match="did its training diverge"):
        Sampling(0).choose(np.array([[0.0, bad]]), np.random.default_rng(0))
