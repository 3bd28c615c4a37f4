"""A two-layer network in the style of the study notes, dictionaries and all: `python examples/study_notes.py`.

The tutorial explains it: docs/tutorial/05-optimizers.md.
"""

import numpy as np

import nnx
from nnx.functions import one_hot

train, _, test = nnx.datasets.load("digits", seed=0)
x_train, t_train = train.inputs("float64").reshape(len(train), -1), np.asarray(one_hot(train.t, 10))
x_test, t_test = test.inputs("float64").reshape(len(test), -1), test.t

rng = np.random.default_rng(0)
params = {
    "W1": rng.standard_normal((64, 50)) * np.sqrt(2 / 64),
    "b1": np.zeros(50),
    "W2": rng.standard_normal((50, 10)) * np.sqrt(1 / 50),
    "b2": np.zeros(10),
}
affine1, relu, affine2 = nnx.Affine(params["W1"], params["b1"]), nnx.ReLU(), nnx.Affine(params["W2"], params["b2"])
layers = [affine1, relu, affine2]
last_layer, optimizer = nnx.SoftmaxCrossEntropy(), nnx.AdaGrad(lr=0.1)


def predict(x, train_flg=False):
    for layer in layers:
        x = layer.forward(x, train_flg)
    return x


for epoch in range(10):
    for rows in np.array_split(rng.permutation(len(x_train)), 25):
        loss = last_layer.forward(predict(x_train[rows], train_flg=True), t_train[rows])
        dout = last_layer.backward()
        for layer in reversed(layers):
            dout = layer.backward(dout)
        grads = {"W1": affine1.grads["W"], "b1": affine1.grads["b"], "W2": affine2.grads["W"], "b2": affine2.grads["b"]}
        optimizer.update(params, grads)  # in place: the layers see it
    accuracy = np.mean(np.argmax(predict(x_test), axis=1) == t_test)
    print(f"epoch {epoch + 1}: loss {float(loss):.4f}, test accuracy {accuracy:.4f}")
