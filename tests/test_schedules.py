"""Learning rates that change: PyTorch's rates, what is refused, and how optimizer and trainer use them."""

import copy
import math
import pickle

import numpy as np
import pytest
from helpers import build, golden

import xpnet as xn

CASES = golden("schedules")
PLATEAUS = [name for name in CASES if "losses" in CASES[name]]
TIMED = [name for name in CASES if name not in PLATEAUS]
every_timed = pytest.mark.parametrize("case", TIMED)
every_plateau = pytest.mark.parametrize("case", PLATEAUS)


def heard(schedule, losses):
    """The rate after each observed loss."""
    rates = []
    for loss in losses:
        schedule.observe(loss)
        rates.append(schedule(0))
    return rates


# --- the numbers ------------------------------------------------------------------------------------------------


def test_every_schedule_has_a_golden_case():
    schedules = {name for name, thing in vars(xn).items() if isinstance(thing, type) and issubclass(thing, xn.Schedule)}
    assert schedules - {"Schedule", "Constant"} == {case.split("-")[0] for case in CASES}


@every_timed
def test_golden_rates(case):
    schedule = build(case, CASES[case]["options"])
    rates = [schedule(step) for step in range(len(CASES[case]["rates"]))]
    assert all(type(rate) is float for rate in rates)
    np.testing.assert_allclose(rates, CASES[case]["rates"], rtol=1e-12, atol=1e-16)
    assert len(set(rates)) > 2


@every_timed
def test_rates_are_functions_of_the_step_alone(case):
    schedule = build(case, CASES[case]["options"])
    forwards = [schedule(step) for step in range(60)]
    assert [schedule(step) for step in reversed(range(60))] == forwards[::-1]
    schedule.observe(1e9)
    assert [schedule(step) for step in range(60)] == forwards


@every_plateau
def test_golden_plateau(case):
    schedule = build(case, CASES[case]["options"])
    assert schedule(0) == 0.3
    np.testing.assert_allclose(heard(schedule, CASES[case]["losses"]), CASES[case]["rates"], rtol=1e-12)


@every_plateau
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))], ids=["deepcopy", "pickle"])
def test_a_plateau_goes_on_after_a_copy(case, clone):
    schedule, rates = build(case, CASES[case]["options"]), []
    for loss in CASES[case]["losses"]:
        schedule = clone(schedule)
        rates += heard(schedule, [loss])
    np.testing.assert_allclose(rates, CASES[case]["rates"], rtol=1e-12)


def test_a_nan_loss_does_not_count_as_fallen():
    assert heard(xn.ReduceOnPlateau(0.5, factor=0.5, patience=1), [1.0, math.nan, math.nan, math.nan]) == [0.5, 0.5, 0.25, 0.25]


def test_constant():
    assert [xn.Constant(0.5)(step) for step in (0, 1, 10**9)] == [0.5, 0.5, 0.5]


def test_cosine_rests_at_the_minimum():
    schedule = xn.Cosine(0.5, steps=10, minimum=0.125)
    assert schedule(0) == 0.5
    assert schedule(5) == pytest.approx(0.3125, rel=1e-15)
    assert [schedule(step) for step in (10, 11, 10**6)] == [0.125] * 3


def test_warmup_then_another_schedule():
    after = xn.Cosine(0.5, steps=20)
    schedule = xn.LinearWarmup(after, steps=4, start=0.2)
    np.testing.assert_allclose([schedule(t) for t in range(4)], [0.1, 0.2, 0.3, 0.4], rtol=1e-15)
    assert [schedule(t) for t in range(4, 30)] == [after(t) for t in range(26)]


def test_warmup_hands_the_loss_on():
    schedule = xn.LinearWarmup(xn.ReduceOnPlateau(0.5, factor=0.5, patience=0), steps=2)
    for loss in (1.0, 1.0):
        schedule.observe(loss)
    assert schedule(2) == 0.25


@pytest.mark.parametrize("case", CASES)
def test_repr_rebuilds_the_schedule(case):
    schedule = build(case, CASES[case]["options"])
    again = eval(repr(schedule), {**vars(xn)})
    assert [again(step) for step in range(60)] == [schedule(step) for step in range(60)]


# --- in the optimizer -------------------------------------------------------------------------------------------


@every_timed
def test_the_optimizer_takes_the_rate_of_each_update(case, device):
    rates = CASES[case]["rates"]
    net = xn.Sequential(xn.Affine(1, bias=False)).build(1, device=device, dtype="float64")
    optimizer = xn.SGD(build(case, CASES[case]["options"]))
    net.parameters.grad[...] = 1
    for step, rate in enumerate(rates):
        assert optimizer.current_rate == pytest.approx(rate, rel=1e-12, abs=1e-16)
        assert optimizer.steps == step
        before = float(device.get(net.parameters.value)[0])
        optimizer.update(net.parameters)
        assert before - float(device.get(net.parameters.value)[0]) == pytest.approx(rate, abs=1e-14)


def test_decoupled_decay_follows_the_schedule(device):
    net = xn.Sequential(xn.Affine(1, bias=False)).build(1, device=device, dtype="float64")
    optimizer = xn.SGD(xn.Exponential(0.5, 0.5), weight_decay=0.5)
    net.parameters.value[...], net.parameters.grad[...] = 1, 0
    for _ in range(3):
        optimizer.update(net.parameters)
    assert float(device.get(net.parameters.value)[0]) == pytest.approx((1 - 0.25) * (1 - 0.125) * (1 - 0.0625), rel=1e-14)


def test_the_optimizer_hands_the_loss_on():
    optimizer = xn.Adam(xn.ReduceOnPlateau(0.5, factor=0.5, patience=0))
    optimizer.observe(1.0)
    assert optimizer.current_rate == 0.5
    optimizer.observe(1.0)
    assert optimizer.current_rate == 0.25


def test_a_reset_begins_the_schedule_again(device):
    net = xn.Sequential(xn.Affine(1)).build(1, device=device)
    optimizer = xn.SGD(xn.Exponential(0.5, 0.5))
    optimizer.update(net.parameters)
    assert optimizer.current_rate == 0.25
    optimizer.reset()
    assert optimizer.current_rate == 0.5


def test_a_reset_forgets_the_losses_observed():
    optimizer = xn.SGD(xn.ReduceOnPlateau(0.5, factor=0.5, patience=0))
    for _ in range(2):
        optimizer.observe(1.0)
    optimizer.reset()
    assert optimizer.current_rate == 0.5


# --- in the trainer ---------------------------------------------------------------------------------------------


def trainer(rate, device, callbacks=()):
    net = xn.Sequential(xn.Affine(1))
    return xn.Trainer(net, loss=xn.MeanSquaredError(), optimizer=xn.SGD(rate), device=device, callbacks=callbacks)


def fit(trainer, y=0.0, epochs=6, validation=None):
    """Training in which nothing moves where the inputs are 0: the loss is the mean of ``y**2``, less what the bias learns."""
    return trainer.fit(np.zeros((8, 3)), np.full((8, 1), y), epochs=epochs, batch_size=4, validation=validation, progress=False)


def test_plateau_through_the_trainer(device):
    """With targets of 0 the loss is 0 from the first epoch: every second epoch is one too many."""
    history = fit(trainer(xn.ReduceOnPlateau(0.5, factor=0.5, patience=1), device))
    assert history["loss"] == [0] * 6
    assert history["learning_rate"] == [0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_plateau_watches_the_validation_loss(device):
    """The bias learns from the training set, whose loss falls; the validation loss rises meanwhile."""
    schedule = xn.ReduceOnPlateau(0.01, factor=0.5, patience=0)
    history = fit(trainer(schedule, device), y=1.0, epochs=4, validation=(np.zeros((2, 3)), np.full((2, 1), -1.0)))
    assert np.all(np.diff(history["loss"]) < 0)
    assert np.all(np.diff(history["validation_loss"]) > 0)
    assert history["learning_rate"] == [0.01, 0.01, 0.005, 0.0025]
    rising = fit(trainer(xn.ReduceOnPlateau(0.01, factor=0.5, patience=0), device), y=1.0, epochs=4)
    assert rising["learning_rate"] == [0.01] * 4


def test_the_trainer_counts_updates_not_epochs(device):
    """Two updates an epoch, whose first rate the history records."""
    history = fit(trainer(xn.StepDecay(0.5, every=4, factor=0.5), device))
    assert history["learning_rate"] == [0.5, 0.5, 0.25, 0.25, 0.125, 0.125]


def test_a_second_fit_goes_on_with_the_schedule(device):
    one = trainer(xn.Exponential(0.5, 0.5), device)
    fit(one, epochs=2)
    assert fit(one, epochs=1)["learning_rate"] == [0.5, 0.125, 0.03125]


def test_a_schedule_of_ones_own(device):
    class Sawtooth(xn.Schedule):
        def __call__(self, step):
            return 0.5 if step % 2 else 0.25

    optimizer = trainer(Sawtooth(), device).optimizer
    assert optimizer.current_rate == 0.25
    with pytest.raises(NotImplementedError):
        xn.Schedule()(0)


# --- what is refused --------------------------------------------------------------------------------------------

RATES = (0, -0.1, math.nan, math.inf, "0.1", None, True)
BAD = {
    **{
        f"{name} rate {rate}": (lambda make=make, rate=rate: make(rate), "learning_rate")
        for rate in RATES
        for name, make in {
            "Constant": xn.Constant,
            "StepDecay": lambda r: xn.StepDecay(r, 3),
            "Exponential": lambda r: xn.Exponential(r, 0.9),
            "Cosine": lambda r: xn.Cosine(r, 3),
            "LinearWarmup": lambda r: xn.LinearWarmup(r, 3),
            "ReduceOnPlateau": xn.ReduceOnPlateau,
        }.items()
    },
    **{
        f"{name} steps {steps}": (lambda make=make, steps=steps: make(steps), "whole number from 1 on")
        for steps in (0, -1, 2.0, True, None)
        for name, make in {
            "StepDecay": lambda n: xn.StepDecay(0.1, n),
            "Cosine": lambda n: xn.Cosine(0.1, n),
            "LinearWarmup": lambda n: xn.LinearWarmup(0.1, n),
        }.items()
    },
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
