"""The book's `common.trainer`."""

import os
import sys
from typing import Any

import numpy as np

from ..ops import Array
from .optimizer import SGD, AdaGrad, Adam, Momentum, Nesterov, RMSprop

__all__ = ["SGD", "AdaGrad", "Adam", "Momentum", "Nesterov", "RMSprop", "Trainer", "np", "os", "sys"]

_OPTIMIZERS = {cls.__name__.lower(): cls for cls in (SGD, Momentum, Nesterov, AdaGrad, RMSprop, Adam)}


class Trainer:
    """Train a network with `gradient`, `loss`, `accuracy` and `params` on mini-batches, drawn with replacement.

    The losses are collected in `train_loss_list`, the accuracies in `train_acc_list` and `test_acc_list`.

    Args:
        network: the network.
        x_train: (n, ...).
        t_train: labels (n,), or one-hot rows.
        x_test: likewise.
        t_test: likewise.
        epochs: each of len(x_train) / mini_batch_size updates.
        mini_batch_size: the rows of an update.
        optimizer: a name in any case.
        optimizer_param: the optimizer's arguments.
        evaluate_sample_num_per_epoch: the rows of either set that an epoch's accuracies are taken of. None: all.
        verbose: print the loss after each update and the accuracies of each epoch.
    """

    def __init__(
        self,
        network: Any,
        x_train: Array,
        t_train: Array,
        x_test: Array,
        t_test: Array,
        epochs: int = 20,
        mini_batch_size: int = 100,
        optimizer: str = "SGD",
        optimizer_param: dict[str, Any] = {"lr": 0.01},  # noqa: B006  the book's signature; only read
        evaluate_sample_num_per_epoch: int | None = None,
        verbose: bool = True,
    ) -> None:
        self.network, self.verbose = network, verbose
        self.x_train, self.t_train = x_train, t_train
        self.x_test, self.t_test = x_test, t_test
        self.epochs, self.batch_size = epochs, mini_batch_size
        self.evaluate_sample_num_per_epoch = evaluate_sample_num_per_epoch
        self.optimizer = _OPTIMIZERS[optimizer.lower()](**optimizer_param)
        self.train_size = x_train.shape[0]
        self.iter_per_epoch = max(self.train_size / mini_batch_size, 1)
        self.max_iter = int(epochs * self.iter_per_epoch)
        self.current_iter = 0
        self.current_epoch = 0
        self.train_loss_list: list[Any] = []
        self.train_acc_list: list[Any] = []
        self.test_acc_list: list[Any] = []

    def train_step(self) -> None:
        """Make one update, keep its loss and, where an epoch begins, the accuracies."""
        rows = np.random.choice(self.train_size, self.batch_size)
        x, t = self.x_train[rows], self.t_train[rows]
        self.optimizer.update(self.network.params, self.network.gradient(x, t))
        loss = self.network.loss(x, t)
        self.train_loss_list.append(loss)
        if self.verbose:
            print(f"train loss:{loss!s}")
        if self.current_iter % self.iter_per_epoch == 0:
            self._evaluate()
        self.current_iter += 1

    def _evaluate(self) -> None:
        self.current_epoch += 1
        rows = slice(self.evaluate_sample_num_per_epoch)
        train_acc = self.network.accuracy(self.x_train[rows], self.t_train[rows])
        test_acc = self.network.accuracy(self.x_test[rows], self.t_test[rows])
        self.train_acc_list.append(train_acc)
        self.test_acc_list.append(test_acc)
        if self.verbose:
            print(f"=== epoch:{self.current_epoch}, train acc:{train_acc!s}, test acc:{test_acc!s} ===")

    def train(self) -> None:
        """Make all updates, and print the accuracy on the whole test set."""
        for _ in range(self.max_iter):
            self.train_step()
        test_acc = self.network.accuracy(self.x_test, self.t_test)
        if self.verbose:
            print("=============== Final Test Accuracy ===============")
            print(f"test acc:{test_acc!s}")
