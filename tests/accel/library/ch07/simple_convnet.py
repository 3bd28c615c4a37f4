# ruff: noqa: NPY002, B006, F405
import os
import pickle
import sys

sys.path.append(os.pardir)
from collections import OrderedDict

import numpy as np
from common.gradient import numerical_gradient
from common.layers import *  # noqa: F403


class SimpleConvNet:
    def __init__(
        self,
        input_dim=(1, 28, 28),
        conv_param={"filter_num": 30, "filter_size": 5, "pad": 0, "stride": 1},
        hidden_size=100,
        output_size=10,
        weight_init_std=0.01,
    ):
        n, size = conv_param["filter_num"], conv_param["filter_size"]
        side = (input_dim[1] + 2 * conv_param["pad"] - size) / conv_param["stride"] + 1
        pooled = int(n * (side / 2) * (side / 2))
        shapes = [(n, input_dim[0], size, size), (pooled, hidden_size), (hidden_size, output_size)]
        self.params = {}
        for i, (shape, outputs) in enumerate(zip(shapes, (n, hidden_size, output_size), strict=True), 1):
            self.params["W" + str(i)] = weight_init_std * np.random.randn(*shape)
            self.params["b" + str(i)] = np.zeros(outputs)
        p = self.params
        self.layers = OrderedDict()
        self.layers["Conv1"] = Convolution(p["W1"], p["b1"], conv_param["stride"], conv_param["pad"])
        self.layers["Relu1"] = Relu()
        self.layers["Pool1"] = Pooling(2, 2, stride=2)
        self.layers["Affine1"] = Affine(p["W2"], p["b2"])
        self.layers["Relu2"] = Relu()
        self.layers["Affine2"] = Affine(p["W3"], p["b3"])
        self.last_layer = SoftmaxWithLoss()

    def predict(self, x):
        for layer in self.layers.values():
            x = layer.forward(x)
        return x

    def loss(self, x, t):
        return self.last_layer.forward(self.predict(x), t)

    def accuracy(self, x, t, batch_size=100):
        if t.ndim > 1:
            t = np.argmax(t, axis=1)
        right = 0.0
        for i in range(x.shape[0] // batch_size):
            rows = range(i * batch_size, (i + 1) * batch_size)
            right += np.sum(np.argmax(self.predict(x[rows]), axis=1) == t[rows])
        return right / x.shape[0]

    def numerical_gradient(self, x, t):
        found = {}
        for i in (1, 2, 3):
            for key in ("W" + str(i), "b" + str(i)):
                found[key] = numerical_gradient(lambda _: self.loss(x, t), self.params[key])
        return found

    def gradient(self, x, t):
        self.loss(x, t)
        dout = self.last_layer.backward(1)
        for layer in reversed(list(self.layers.values())):
            dout = layer.backward(dout)
        found = {}
        for i, name in enumerate(("Conv1", "Affine1", "Affine2"), 1):
            found["W" + str(i)], found["b" + str(i)] = self.layers[name].dW, self.layers[name].db
        return found

    def save_params(self, file_name="params.pkl"):
        with open(file_name, "wb") as file:
            pickle.dump({key: value for key, value in self.params.items()}, file)  # noqa: C416

    def load_params(self, file_name="params.pkl"):
        with open(file_name, "rb") as file:
            for key, value in pickle.load(file).items():
                self.params[key] = value
        for i, name in enumerate(("Conv1", "Affine1", "Affine2"), 1):
            self.layers[name].W, self.layers[name].b = self.params["W" + str(i)], self.params["b" + str(i)]
