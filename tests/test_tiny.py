"""The whole way in seconds: run this always. Everything else tests it part by part."""

import numpy as np

import nnx


def test_learns_a_circle():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (500, 2)).astype(np.float32)
    t = (np.hypot(*x.T) < 0.7).astype(np.int64)
    trainer = nnx.Trainer(nnx.MLP((30,), 2), nnx.Adam(lr=0.02))
    history = trainer.fit(x, t, epochs=30, batch_size=50, verbose=False)
    assert history["loss"][-1] < 0.25 * history["loss"][0]
    assert trainer.model.accuracy(x, t) == history["accuracy"][-1] > 0.95


def test_the_layers_of_the_study_notes():
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((20, 5)), rng.integers(0, 3, 20)
    params = {
        "W1": rng.standard_normal((5, 8)),
        "b1": np.zeros(8),
        "W2": rng.standard_normal((8, 3)),
        "b2": np.zeros(3),
    }
    layers = [nnx.Affine(params["W1"], params["b1"]), nnx.Sigmoid(), nnx.Affine(params["W2"], params["b2"])]
    last, optimizer, losses = nnx.SoftmaxCrossEntropy(), nnx.SGD(lr=1.0), []
    for _ in range(50):
        y = x
        for layer in layers:
            y = layer.forward(y)
        losses.append(float(last.forward(y, t)))
        dout = last.backward()
        for layer in reversed(layers):
            dout = layer.backward(dout)
        grads = {"W1": layers[0].grads["W"], "b1": layers[0].grads["b"]}
        grads |= {"W2": layers[2].grads["W"], "b2": layers[2].grads["b"]}
        optimizer.update(params, grads)
    assert losses[-1] < 0.6 * losses[0]
