"""Search for a learning rate, weight decay and dropout on validation data: `python examples/08_hyper_parameters.py`.

The tutorial explains it: docs/tutorial/10-hyper-parameters.md.
"""

import importlib.util
import sys
import tempfile

import nnx
from nnx.tune import Choice, Linear, Log

if importlib.util.find_spec("optuna") is None:
    sys.exit("this example searches with Optuna: pip install 'nnx-array[tune]'")

space = {
    "lr": Log(1e-5, 1.0),
    "weight_decay": Log(1e-8, 1e-2),
    "dropout": Linear(0, 0.5),
    "optimizer": Choice("adam", "momentum", "sgd"),
    "hidden": (100,),
    "batch_size": 50,
}

with tempfile.TemporaryDirectory() as folder:
    study = nnx.tune.search(space, "digits", trials=12, rounds=4, epochs=5, seed=0, folder=folder)

    print("\nthe ranges of each round:")
    for each in study.rounds:
        print(f"  {each.number}: " + ", ".join(f"{name} {span}" for name, span in each.ranges.items()))

    # The test set was put aside all the time. It is looked at once, with the choice.
    print(f"test accuracy of the choice, trained as briefly as in the search: {study.evaluate_test()['accuracy']:.4f}")

    # A whole training with the values that were found.
    train, validation, test = nnx.datasets.load("digits", seed=0)  # the same rows as the search's, by the same seed
    trainer = study.trainer()
    trainer.fit(train, epochs=20, batch_size=50, validation_data=validation)
    print(f"test accuracy {trainer.model.accuracy(test):.4f}")
