"""Learning-rate schedules: their formulas, what they are kept as, and what they refuse."""

import dataclasses
import json
import math

import numpy as np
import pytest

import nnx
from nnx.schedules import Constant, Cosine, OneCycle, Step, WarmUp, from_config, schedule, to_config

HUGE = pytest.param(10**400, id="beyond all floats")


def one_cycle(lr, step, top, steps):
    if step < top:
        return lr / 25 + (lr - lr / 25) * (1 - math.cos(math.pi * step / top)) / 2
    share = min((step - top) / (steps - top), 1)
    return lr / 250_000 + (lr - lr / 250_000) * (1 + math.cos(math.pi * share)) / 2


SCHEDULES = {
    "constant": (Constant(0.3), lambda s: 0.3),
    "step": (Step(0.5, every=3), lambda s: 0.5 * 0.1 ** (s // 3)),
    "step, own factor": (Step(0.5, every=1, factor=0.9), lambda s: 0.5 * 0.9**s),
    "cosine": (Cosine(2.0, steps=8), lambda s: 1 + math.cos(math.pi * s / 8) if s < 8 else 0.0),
    "cosine to a floor": (Cosine(3.0, 8, final=1.0), lambda s: 2 + math.cos(math.pi * s / 8) if s < 8 else 1.0),
    "cosine that rises": (Cosine(0.0, 4, final=1.0), lambda s: (1 - math.cos(math.pi * s / 4)) / 2 if s < 4 else 1.0),
    "warm-up to a number": (WarmUp(4, 0.8), lambda s: 0.2 * (s + 1) if s < 4 else 0.8),
    "warm-up, then steps": (WarmUp(2, Step(1.0, every=3)), lambda s: (s + 1) / 2 if s < 2 else 0.1 ** ((s - 2) // 3)),
    "warm-up of a warm-up": (WarmUp(2, WarmUp(2, 1.0)), lambda s: (0.25, 0.5, 0.5, 1.0)[min(s, 3)]),
    "one cycle": (OneCycle(0.5, 10), lambda s: one_cycle(0.5, s, 3, 10)),
    "one cycle, own rise": (OneCycle(0.5, 8, rise=0.5), lambda s: one_cycle(0.5, s, 4, 8)),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_follows_its_formula(name):
    rate, formula = SCHEDULES[name]
    assert [rate(s) for s in range(20)] == pytest.approx([formula(s) for s in range(20)], abs=1e-15)


@pytest.mark.parametrize("name", SCHEDULES)
def test_goes_through_a_checkpoint(name):
    rate, _ = SCHEDULES[name]
    assert from_config(json.loads(json.dumps(to_config(rate)))) == rate


@pytest.mark.parametrize("name", SCHEDULES)
def test_an_optimizer_follows_it(name):
    rate, formula = SCHEDULES[name]
    optimizer = nnx.SGD(rate)
    assert optimizer.lr == (0.3 if name == "constant" else rate)  # a constant one is shown as its number
    assert optimizer.rate(5) == pytest.approx(formula(5))


def test_a_number_is_a_constant_schedule():
    assert schedule(0.25) == Constant(0.25)
    assert schedule(Step(1.0, 2)) == Step(1.0, 2)


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.int64(1)])
def test_numbers_of_numpy_are_numbers(number):
    assert nnx.SGD(lr=number).rate(0) == number
    assert Cosine(number, np.int64(4))(0) == number
    json.dumps(nnx.SGD(lr=number).config())


@pytest.mark.parametrize("name", SCHEDULES)
def test_it_cannot_be_changed(name):
    rate, _ = SCHEDULES[name]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(rate, dataclasses.fields(rate)[0].name, 0.2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Constant, "lr: got"),
        (lambda v: Step(v, 2), "lr: got"),
        (lambda v: Step(0.1, 2, factor=v), "factor: got"),
        (lambda v: Cosine(v, 2), "lr: got"),
        (lambda v: Cosine(0.1, 2, final=v), "final: got"),
        (lambda v: WarmUp(2, v), "lr: got"),
        (lambda v: OneCycle(v, 2), "lr: got"),
        (lambda v: OneCycle(0.1, 2, rise=v), "rise: got"),
        (schedule, "lr: got"),
    ],
    ids=["constant", "step", "factor", "cosine", "final", "warm-up", "one cycle", "rise", "number"],
)
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, HUGE, True, None, "fast", [0.1], np.zeros(3)])
def test_what_is_no_rate(make, message, value):
    with pytest.raises(nnx.NnxError, match=f"{message} .*expected a (finite )?number"):
        make(value)


def test_rates_may_be_0():
    for rate in (Constant(0), Step(0, 2), Step(0.1, 1, factor=0), Cosine(0, 2), Cosine(0, 2, final=0), WarmUp(1, 0)):
        assert rate(1) == 0
    assert OneCycle(0, 2)(1) == 0
    assert nnx.SGD(lambda step: 0).rate(1) == 0


@pytest.mark.parametrize("share", [0, 1, 1.5])
def test_the_rise_is_a_part_of_the_cycle(share):
    with pytest.raises(nnx.InputError, match=f"rise: got {share}, expected a finite number greater than 0 and below 1"):
        OneCycle(0.1, 10, rise=share)


@pytest.mark.parametrize("value", [-0.1, math.nan, "fast"])
def test_what_a_function_of_ones_own_gives_is_checked(value):
    for rate in (nnx.SGD(lambda step: value).rate, WarmUp(3, lambda step: value)):
        with pytest.raises(nnx.NnxError, match=rf"lr\(0\): got {value!r}, expected a (finite )?number"):
            rate(0)
    assert nnx.SGD(lambda step: np.float32(step / 2)).rate(3) == 1.5


@dataclasses.dataclass(frozen=True)
class Own:
    lr: float

    def __call__(self, step):
        return self.lr / (step + 1)


def test_ones_own_is_kept_by_its_name_alone():
    with pytest.raises(nnx.CheckpointError, match="has no name that a checkpoint could keep"):
        to_config(Own(0.1))
    own = type("Cosine", (Own,), {})
    with pytest.raises(nnx.CheckpointError, match="has no name that a checkpoint could keep"):
        to_config(own(0.1))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda v: Step(0.1, v), "every"),
        (lambda v: Cosine(0.1, v), "steps"),
        (lambda v: WarmUp(v, 0.1), "steps"),
        (lambda v: OneCycle(0.1, v), "steps"),
    ],
    ids=["step", "cosine", "warm-up", "one cycle"],
)
@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "3", [1]])
def test_what_is_no_number_of_steps(make, name, value):
    with pytest.raises(nnx.NnxError, match=f"{name}: got .*, expected a whole number of at least 1"):
        make(value)


def test_an_unknown_one_in_a_checkpoint_is_named():
    with pytest.raises(nnx.InputError, match="unknown schedule 'Cosin'. Did you mean 'Cosine'"):
        from_config({"schedule": "Cosin", "lr": 0.1, "steps": 3})
