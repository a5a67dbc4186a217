from piva.scores.terms import (
    EDIT,
    NOISE,
    NULL,
    ORIGINAL,
    SOURCE,
    TARGET,
    Network,
    Prediction,
    frozen,
    guide,
    target_model,
)


def test_guidance_scale_zero_is_unconditional_and_one_is_conditional() -> None:
    assert guide(2.0, 5.0, 0.0) == 2.0
    assert guide(2.0, 5.0, 1.0) == 5.0
    assert guide(2.0, 5.0, 7.5) == 2.0 + 7.5 * 3.0


def test_a_guided_prediction_is_two_terms() -> None:
    cond, uncond = Prediction(Network.FROZEN, EDIT, TARGET), Prediction(Network.FROZEN, EDIT, NULL)
    assert frozen(EDIT, TARGET, 7.5).weights == {cond: 7.5, uncond: -6.5}


def test_guidance_one_needs_no_unconditional_prediction() -> None:
    assert frozen(EDIT, TARGET, 1.0).predictions == [Prediction(Network.FROZEN, EDIT, TARGET)]


def test_like_terms_collect_and_cancel() -> None:
    same = frozen(EDIT, TARGET, 7.5) - frozen(EDIT, SOURCE, 7.5)
    assert {p.prompt for p in same.predictions} == {TARGET, SOURCE}  # the unconditional ones are gone
    apart = frozen(EDIT, TARGET, 7.5) - frozen(ORIGINAL, SOURCE, 7.5)
    assert len(apart.predictions) == 4


def test_zero_times_a_sum_is_nothing() -> None:
    assert (0.0 * (target_model(EDIT, TARGET) + NOISE)).weights == {}
    assert (NOISE - NOISE).weights == {}


def test_the_noise_costs_no_evaluation() -> None:
    assert NOISE.predictions == []
