# ruff: noqa: NPY002, B006
import numpy as np

from common import optimizer as rules


class Trainer:
    def __init__(
        self, network, x_train, t_train, x_test, t_test, epochs=20, mini_batch_size=100, optimizer="SGD",
        optimizer_param={"lr": 0.01}, evaluate_sample_num_per_epoch=None, verbose=True,
    ):  # fmt: skip
        self.network, self.verbose, self.rows = network, verbose, slice(evaluate_sample_num_per_epoch)
        self.train_part, self.test_part, self.size = (x_train, t_train), (x_test, t_test), mini_batch_size
        kinds = {"sgd": rules.SGD, "momentum": rules.Momentum, "adagrad": rules.AdaGrad, "adam": rules.Adam}
        self.optimizer = kinds[optimizer.lower()](**optimizer_param)
        self.per_epoch = max(len(x_train) / mini_batch_size, 1)
        self.max_iter, self.current_iter, self.current_epoch = int(epochs * self.per_epoch), 0, 0
        self.train_loss_list, self.train_acc_list, self.test_acc_list = [], [], []

    def train_step(self):
        rows = np.random.choice(len(self.train_part[0]), self.size)
        x, t = (part[rows] for part in self.train_part)
        self.optimizer.update(self.network.params, self.network.gradient(x, t))
        self.train_loss_list.append(self.network.loss(x, t))
        self._say(f"train loss:{self.train_loss_list[-1]}")
        if self.current_iter % self.per_epoch == 0:
            self.current_epoch += 1
            for part, kept in ((self.train_part, self.train_acc_list), (self.test_part, self.test_acc_list)):
                kept.append(self.network.accuracy(*(array[self.rows] for array in part)))
            train, test = self.train_acc_list[-1], self.test_acc_list[-1]
            self._say(f"=== epoch:{self.current_epoch}, train acc:{train}, test acc:{test} ===")
        self.current_iter += 1

    def train(self):
        for _ in range(self.max_iter):
            self.train_step()
        self._say("=============== Final Test Accuracy ===============")
        self._say(f"test acc:{self.network.accuracy(*self.test_part)}")

    def _say(self, line):
        if self.verbose:
            print(line)
