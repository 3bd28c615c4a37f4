"""Histories drawn, and what a training says of what it has learned."""

import numpy as np
import pytest

import nnx
from nnx.training._progress import Progress

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(100, 3)), np.arange(100) % 4
HISTORY = {"loss": [2.0, 1.0], "accuracy": [0.5, 0.7], "val_loss": [2.1, 1.5], "val_accuracy": [0.4, 0.6]}


def trained(optimizer, loss=None, outputs=4, t=LABELS, **settings):
    trainer = nnx.Trainer(nnx.MLP((8,), outputs), optimizer, loss, backend="numpy")
    trainer.fit(X, t, **{"epochs": 2} | settings)
    return trainer


def test_a_history_is_drawn_with_its_validation_curves():
    figure = nnx.plot_history(HISTORY, "a title")
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy"]
    assert [[line.get_label() for line in axes.lines[:2]] for axes in figure.axes] == [["training", "validation"]] * 2
    assert figure.get_suptitle() == "a title"


@pytest.mark.parametrize(("losses", "scale"), [([1e14, 20, 18], "log"), ([2.0, 0.1], "linear"), ([2.0, 0.0], "linear")])
def test_losses_that_span_decades_have_a_logarithmic_axis(losses, scale):
    (axes,) = nnx.plot_history({"loss": losses}).axes
    assert axes.get_yscale() == scale


def test_a_trainer_draws_its_own_history():
    figure = trained("sgd", "mse", 1, RNG.normal(size=(100, 1)), verbose=False).plot()
    assert [axes.get_title() for axes in figure.axes] == ["loss", "R2"]
    assert figure.get_suptitle().startswith("Sequential(Flatten(), Affine(8)")


@pytest.mark.parametrize(
    ("history", "error", "message"),
    [
        ([1.0], nnx.InputTypeError, "history: got list, expected what Trainer.fit returns: lists by name."),
        ({}, nnx.InputError, "history: got no entries, expected one epoch at least of loss, accuracy, r2."),
        ({"lr": [1.0], "loss": []}, nnx.InputError, "history: got lr, loss, expected one epoch at least"),
        (
            {"loss": [1.0], "val_loss": [1.0, 2.0]},
            nnx.InputError,
            "history: got 1 of loss and 2 of val_loss",
        ),
    ],
)
def test_what_is_no_history_is_refused(history, error, message):
    with pytest.raises(error, match=message):
        nnx.plot_history(history)


@pytest.mark.parametrize(
    ("lr", "words"),
    [
        (
            1e3,
            "Try a smaller learning rate (it was 1000; nnx lab lr-find suggests one), or inputs scaled to about -1..1.",
        ),
        (
            1e-9,
            "Try another learning rate (it was 1e-09; nnx lab lr-find suggests one), more epochs, or inputs scaled to",
        ),
    ],
)
def test_a_training_that_has_not_learned_says_so(lr, words, capsys):
    trainer = trained(nnx.SGD(lr=lr))
    last = capsys.readouterr().out.splitlines()[-1]
    score = trainer.history["accuracy"][-1]
    assert last.startswith(
        f"the network has not learned: accuracy {score:.4f}, and always giving the most frequent class has 0.2500. "
    )
    assert words in last


def test_a_regression_that_is_no_better_than_the_mean_says_so(capsys):
    trained(nnx.SGD(lr=1e-9), "mse", 1, 100 + RNG.normal(size=(100, 1)))
    last = capsys.readouterr().out.splitlines()[-1]
    assert "and that of the mean alone is 0. Try another learning rate (it was 1e-09;" in last
    assert last.endswith("more epochs, or inputs and targets scaled to about -1..1.")


@pytest.mark.parametrize(
    "settings",
    [
        {"t": (X[:, 0] > 0).astype(int), "epochs": 40, "batch_size": 10},  # it has learned
        {"class_weight": "balanced"},  # where the most frequent class is not meant to win
        {"train_accuracy": False},  # where nobody knows
        {"t": np.zeros(100, int)},  # where there is nothing to learn
        {"verbose": False},
    ],
)
def test_else_it_says_nothing(settings, capsys):
    trained(nnx.SGD(lr=1e-9) if "epochs" not in settings else "adam", **settings)
    assert "has not learned" not in capsys.readouterr().out


def test_a_training_that_is_finished_says_so(capsys, tmp_path):
    trained("adam", checkpoint=tmp_path / "checkpoint")
    for epochs, words in (
        (2, "finished already, after 2 epochs; to go on, ask for more epochs"),
        (3, "continuing after"),
    ):
        trainer = nnx.Trainer.load(tmp_path / "checkpoint", backend="numpy")
        capsys.readouterr()
        trainer.fit(X, LABELS, epochs=epochs)
        assert capsys.readouterr().out.splitlines()[1].startswith(words)
        assert trainer.epochs == epochs


def test_a_training_that_was_stopped_early_says_so(capsys):
    trainer = trained("adam", epochs=9, callbacks=[lambda trainer, epoch, logs: epoch == 1], checkpoint=None)
    trainer._continue = True
    capsys.readouterr()
    trainer.fit(X, LABELS, epochs=9)
    assert "stopped early, after 1 epoch; resume=False begins anew" in capsys.readouterr().out


def test_the_table_fits_80_columns_whatever_it_holds(capsys):
    logs = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy", "penalty"), 1.23456e14)
    Progress(enabled=True, epochs=1, first_epoch=0, steps=1, rows=1).epoch(1, logs, 1234.5)
    head, row = capsys.readouterr().out.splitlines()
    assert len(head) == len(row) <= 79
    assert row.split() == ["1", *["1.235e+14"] * 5, "1234.50"]
