"""What the model of latencies learns, how soon, and that it never says what can't be."""

from math import isfinite
from random import Random
from statistics import median

from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.fleet.regression import Regression

SCALES = (1.0, 1000.0, 50.0)


def law(x, speed=1.0):
    return (0.02 * x[0] + 0.0001 * x[1] + 0.001 * x[2]) / speed


def inputs(dice):
    return 1.0, 8000 * dice(), 100 * dice()


def taught(count, dice, model=None, speed=1.0, spoil=lambda y: y):
    """The relative error of each prediction, told before it was learned."""
    model = model or Regression(SCALES, 0.005)
    errors = []
    for _ in range(count):
        x = inputs(dice)
        y = law(x, speed)
        errors.append(abs(model.predict(x) - y) / y)
        model.learn(x, spoil(y))
    return model, errors


def test_it_finds_a_linear_law():
    model, errors = taught(300, Random(1).random)
    assert max(errors[100:]) < 0.02
    assert model.error < 0.02
    found = [round(weight, 5) for weight in model.weights]
    assert found == [0.02, 0.0001, 0.001]


def test_it_knows_when_it_knows_little():
    model = Regression(SCALES, 0.005)
    assert (model.error, model.observations, model.predict((1.0, 100.0, 1.0))) == (1.0, 0, 0.0)
    dice = Random(2).random
    for _ in range(400):  # what comes has nothing to do with what goes in
        model.learn(inputs(dice), (0.01, 0.3, 10.0)[int(dice() * 3)])
    assert model.error > 0.5


def test_it_follows_servers_that_are_half_as_fast():
    dice = Random(3).random
    model, _ = taught(2000, dice)
    _, errors = taught(200, dice, model, speed=0.5)
    assert median(errors[:10]) > 0.4
    assert median(errors[100:]) < 0.1
    assert model.error < 0.15


def test_outliers_leave_it_where_it_was():
    dice = Random(4).random
    stalls = Random(5).random
    model, errors = taught(1000, dice, spoil=lambda y: y * 50 if stalls() < 0.05 else y)
    assert median(errors[200:]) < 0.05
    assert law((1.0, 4000.0, 50.0)) * 0.8 < model.predict((1.0, 4000.0, 50.0)) < law((1.0, 4000.0, 50.0)) * 1.2


def test_noise_costs_no_more_than_its_own_size():
    dice, noise = Random(6).random, Random(7).random
    _, errors = taught(1500, dice, spoil=lambda y: y * (0.7 + 0.6 * noise()))
    assert median(errors[200:]) < 0.05


values = st.floats(0.0, 1e6, allow_subnormal=False)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.tuples(st.just(1.0), values, values), st.floats(1e-6, 1e5)), min_size=1, max_size=60),
    st.tuples(st.just(1.0), values, values),
)
def test_it_never_predicts_less_than_nothing(seen, asked):
    model = Regression(SCALES, 0.005)
    for x, y in seen:
        model.learn(x, y)
        assert all(isfinite(weight) and weight >= 0.0 for weight in model.weights)
        assert 0.0 <= model.error <= 1.0
    assert model.predict(asked) >= 0.0
    assert model.observations == len(seen)
