# ruff: noqa: NPY002, B006, F405
import os
import pickle
import sys

sys.path.append(os.pardir)
import numpy as np
from common.layers import *  # noqa: F403


class DeepConvNet:
    def __init__(
        self,
        input_dim=(1, 28, 28),
        conv_param_1={"filter_num": 16, "filter_size": 3, "pad": 1, "stride": 1},
        conv_param_2={"filter_num": 16, "filter_size": 3, "pad": 1, "stride": 1},
        conv_param_3={"filter_num": 32, "filter_size": 3, "pad": 1, "stride": 1},
        conv_param_4={"filter_num": 32, "filter_size": 3, "pad": 2, "stride": 1},
        conv_param_5={"filter_num": 64, "filter_size": 3, "pad": 1, "stride": 1},
        conv_param_6={"filter_num": 64, "filter_size": 3, "pad": 1, "stride": 1},
        hidden_size=50,
        output_size=10,
    ):
        std = np.sqrt(2 / np.array([9, 144, 144, 288, 288, 576, 1024, hidden_size]))
        self.params, self.layers, channels = {}, [], input_dim[0]
        parts = (conv_param_1, conv_param_2, conv_param_3, conv_param_4, conv_param_5, conv_param_6)
        for i, part in enumerate(parts, 1):
            n, size = part["filter_num"], part["filter_size"]
            W = self.params["W" + str(i)] = std[i - 1] * np.random.randn(n, channels, size, size)
            b = self.params["b" + str(i)] = np.zeros(n)
            self.layers += [Convolution(W, b, part["stride"], part["pad"]), Relu()]
            self.layers += [Pooling(2, 2, 2)] if i in (2, 4, 6) else []
            channels = n
        for i, (a, b) in enumerate(((1024, hidden_size), (hidden_size, output_size)), 7):
            self.params["W" + str(i)] = std[i - 1] * np.random.randn(a, b)
            self.params["b" + str(i)] = np.zeros(b)
        p = self.params
        self.layers += [Affine(p["W7"], p["b7"]), Relu(), Dropout(0.5), Affine(p["W8"], p["b8"]), Dropout(0.5)]
        self.last_layer = SoftmaxWithLoss()

    def predict(self, x, train_flg=False):
        for layer in self.layers:
            x = layer.forward(x, train_flg) if isinstance(layer, Dropout) else layer.forward(x)
        return x

    def loss(self, x, t):
        return self.last_layer.forward(self.predict(x, train_flg=True), t)

    def accuracy(self, x, t, batch_size=100):
        if t.ndim > 1:
            t = np.argmax(t, axis=1)
        right = 0.0
        for i in range(x.shape[0] // batch_size):
            rows = range(i * batch_size, (i + 1) * batch_size)
            right += np.sum(np.argmax(self.predict(x[rows]), axis=1) == t[rows])
        return right / x.shape[0]

    def gradient(self, x, t):
        self.loss(x, t)
        dout = self.last_layer.backward(1)
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        found = {}
        for i, place in enumerate((0, 2, 5, 7, 10, 12, 15, 18), 1):
            found["W" + str(i)], found["b" + str(i)] = self.layers[place].dW, self.layers[place].db
        return found

    def save_params(self, file_name="params.pkl"):
        with open(file_name, "wb") as file:
            pickle.dump(self.params, file)

    def load_params(self, file_name="params.pkl"):
        with open(file_name, "rb") as file:
            for key, value in pickle.load(file).items():
                self.params[key] = value
        for i, place in enumerate((0, 2, 5, 7, 10, 12, 15, 18), 1):
            self.layers[place].W, self.layers[place].b = self.params["W" + str(i)], self.params["b" + str(i)]
