"""Labels by name, tables by column: what is kept of them, what is given back, and what is refused."""

import copy
import pickle

import numpy as np
import pytest

import nnx
from nnx.tune._data import SearchData

ROWS = 60
A = np.linspace(-1, 1, ROWS)
SIZES = np.array(["small", "medium", "large"])[np.digitize(A, [-0.3, 0.3])]
BIG = A > 0.3
X = np.stack([A, A**2, A > 0], axis=1)


@pytest.fixture(params=["numpy", "numba"])
def fit(request):
    def train(x, t, outputs, loss=None, **settings):
        trainer = nnx.Trainer(nnx.MLP((16,), outputs), nnx.Adam(0.05), loss, backend=request.param)
        trainer.fit(x, t, **{"epochs": 30, "batch_size": 20, "verbose": False} | settings)
        return trainer

    return train


def table(columns):
    """A structured array: what has named columns without a further library."""
    made = np.zeros(ROWS, [(name, np.asarray(values).dtype) for name, values in columns.items()])
    for name, values in columns.items():
        made[name] = values
    return made


def pandas(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


def polars(columns):
    return pytest.importorskip("polars").DataFrame(columns)


def arrow(columns):
    return pytest.importorskip("pyarrow").table(columns)


TABLES = [table, pandas, polars, arrow]
COLUMNS = {"a": A.astype(np.float32), "square": A**2, "above": A > 0}


# Labels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [list, np.array, lambda t: np.array(t, object), lambda t: np.array(t, "S6")])
def test_text_labels_are_classes_that_come_back_by_name(kind, fit, tmp_path):
    t = kind(SIZES.tolist())
    trainer = fit(X, t, 3, validation_data=(X, t), early_stopping=nnx.EarlyStopping("val_accuracy"))
    assert trainer.model.classes == ("large", "medium", "small")
    assert np.mean(trainer.predict_classes(X) == SIZES) == trainer.accuracy(X, t) > 0.9
    by_number = fit(X, np.unique(SIZES, return_inverse=True)[1], 3)
    assert by_number.model.classes == ()
    assert trainer.history["loss"] == by_number.history["loss"][: trainer.epochs]
    trainer.save(tmp_path / "c")
    for model in (
        nnx.Trainer.load(tmp_path / "c", backend="numpy").model,
        copy.deepcopy(trainer.model),
        pickle.loads(pickle.dumps(trainer.model)),
    ):
        assert model.classes == trainer.model.classes
        np.testing.assert_array_equal(model.predict_classes(X), trainer.predict_classes(X))
        assert model.evaluate(X, t).score == trainer.evaluate(X, t).score
        assert model.predict_proba(X).shape == (ROWS, 3)


@pytest.mark.parametrize(("outputs", "loss"), [(2, None), (1, "sigmoid_cross_entropy")])
def test_true_and_false_are_classes_under_both_losses(outputs, loss, fit):
    trainer = fit(X, BIG, outputs, loss)
    predicted = trainer.model.predict_classes(X)
    assert predicted.dtype == bool
    assert np.mean(predicted == BIG) == trainer.model.accuracy(X, BIG) == trainer.history["accuracy"][-1] > 0.9


def test_two_names_for_one_output(fit):
    trainer = fit(X, np.where(BIG, "yes", "no"), 1, "sigmoid_cross_entropy", class_weight={"yes": 2.0})
    assert trainer.model.classes == ("no", "yes")
    weight = np.where(BIG, 2.0, 1.0)
    assert trainer.history == fit(X, BIG, 1, "sigmoid_cross_entropy", sample_weight=weight).history
    likely = trainer.predict_proba(X)[:, 0] > 0.5
    np.testing.assert_array_equal(trainer.predict_classes(X) == "yes", likely)


def test_numbers_stay_the_numbers_of_classes(fit):
    trainer = fit(X, BIG.astype(np.uint8), 2)
    assert trainer.model.classes == ()
    assert trainer.predict_classes(X).dtype == np.int64


def test_a_column_for_each_class_names_the_classes(fit):
    one_hot = table({name: (name == SIZES).astype(int) for name in ("small", "medium", "large")})
    trainer = fit(X, one_hot, 3)
    assert trainer.model.classes == ("small", "medium", "large")
    assert np.mean(trainer.predict_classes(X) == SIZES) == trainer.accuracy(X, SIZES) > 0.9
    assert trainer.accuracy(X, one_hot[["large", "small", "medium"]]) == trainer.accuracy(X, SIZES)
    several = fit(X, table({"big": BIG, "above": A > 0}), 2, "sigmoid_cross_entropy")
    assert several.model.classes == ("big", "above")
    both = np.stack([BIG, A > 0], axis=1)
    assert np.mean((several.predict_classes(X) == both).all(axis=1)) == several.accuracy(X, both) > 0.8


def test_a_data_sets_names_are_kept_if_they_are_more_than_numbers(fit):
    t = np.unique(SIZES, return_inverse=True)[1]
    named = nnx.datasets.Dataset("sizes", X, t, 1.0, ("large", "medium", "small"))
    trainer = fit(named, None, 3)
    assert np.mean(trainer.predict_classes(named) == SIZES) == trainer.accuracy(named) > 0.9
    assert fit(nnx.datasets.Dataset("sizes", X, t, 1.0, ("0", "1", "2")), None, 3).model.classes == ()
    other = nnx.datasets.Dataset("sizes", X, t, 1.0, ("small", "medium", "large"))
    with pytest.raises(nnx.InputError, match="x: sizes has the classes 'small', 'medium', 'large', but the model know"):
        trainer.evaluate(other)


def test_names_can_be_given_before(fit):
    model = nnx.MLP((), 3)
    model.classes = ("small", "medium", "large")
    few = SIZES != "medium"
    trainer = nnx.Trainer(model, backend="numpy")
    trainer.fit(X[few], SIZES[few], epochs=1, verbose=False)
    assert model.classes == ("small", "medium", "large")
    assert trainer.evaluate(X, SIZES).score is not None


def test_categories_keep_their_order_and_those_without_rows(fit):
    pd = pytest.importorskip("pandas")
    order = ["small", "medium", "large"]
    for t in (pd.Categorical(SIZES, order), pd.Series(pd.Categorical(SIZES, order))):
        trainer = fit(X, t, 3)
        assert trainer.model.classes == tuple(order)
        assert np.mean(trainer.predict_classes(X) == SIZES) > 0.9
    numbers = pd.Series(np.digitize(A, [-0.3, 0.3]) * 10).astype("category")
    trainer = fit(X, numbers, 3)
    assert trainer.model.classes == (0, 10, 20)
    assert trainer.accuracy(X, numbers.astype(int)) == np.mean(trainer.predict_classes(X) == numbers) > 0.9
    with pytest.raises(nnx.InputError, match="got 4 classes.* tell 3 apart .*cat.remove_unused_categories"):
        fit(X, pd.Categorical(SIZES, [*order, "huge"]), 3)
    gone = pd.Categorical(np.where(A > 0.9, None, SIZES), order)
    with pytest.raises(nnx.InputError, match="t_train: 3 of 60 labels are missing, the first in row 57"):
        fit(X, gone, 3)


@pytest.mark.parametrize("dtype", ["Int64", "int32[pyarrow]", "object"])
def test_nullable_integers_are_labels(dtype, fit):
    pd = pytest.importorskip("pandas")
    if dtype.endswith("[pyarrow]"):
        pytest.importorskip("pyarrow")
    t = np.digitize(A, [-0.3, 0.3])
    trainer = fit(X, pd.Series(t).astype(dtype), 3)
    assert trainer.history == fit(X, t, 3).history
    with pytest.raises(nnx.InputError, match="t_train: got NaN or infinite values in 1 of 60 rows"):
        fit(X, pd.Series([None, *t[1:]], dtype=dtype), 3)


def test_polars_labels(fit):
    pl = pytest.importorskip("polars")
    pl.Series(["another"], dtype=pl.Categorical)  # which all of the process' Categoricals know from now on
    sorted_names, own = ("large", "medium", "small"), ("small", "medium", "large")
    for dtype, names in ((pl.String, sorted_names), (pl.Categorical, sorted_names), (pl.Enum(own), own)):
        assert fit(X, pl.Series(SIZES.tolist(), dtype=dtype), 3).model.classes == names


@pytest.mark.parametrize(
    ("t", "outputs", "loss", "said"),
    [
        (
            SIZES,
            5,
            None,
            r"got 3 classes, 'large', 'medium', 'small', .* tell 5 apart .*: end the model with Affine\(3",
        ),
        (SIZES, 1, "sigmoid_cross_entropy", r"got 3 classes, .* tell 2 apart under SigmoidCrossEntropy\(\)"),
        (SIZES, 1, "mse", r"t_train: got labels of the classes 'large', .* but MeanSquaredError\(\) takes numbers"),
        (SIZES, 1, None, r"labels for a model of one output: .*unless another .*pass loss='sigmoid_cross_entropy'"),
        (BIG, 3, None, r"got 2 classes, False, True, .*name all classes beforehand by model.classes = \(False, True, "),
        (
            A,
            1,
            None,
            "labels of dtype float64, .* SoftmaxCrossEntropy.* unless another .*predict numbers, pass loss='m",
        ),
        (np.digitize(A, [-0.3, 0.3]) + 1, 3, None, "the label 3 in row .*number the classes from 0: pass t_train - 1"),
        (
            [*SIZES[:-1], None],
            3,
            None,
            "t_train: 1 of 60 labels are missing, the first in row 59; leave these rows out",
        ),
        (
            [*SIZES[:-1].tolist(), 7],
            3,
            None,
            "t_train: got objects, such as 'small', expected numbers or names of classes",
        ),
        (
            SIZES[:, None],
            3,
            None,
            r"t_train: got labels of shape \(60, 1\), expected one dimension: pass t_train.ravel",
        ),
        (np.arange(ROWS).astype("M8[D]"), 3, None, "t_train: got dtype datetime64.*, expected numbers"),
        (
            np.where(A == 1, 1e39, A),
            1,
            "mse",
            r"t_train: got 1e\+39 in row 59, column 0, expected numbers up to 3.4e\+38",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_a_cure(t, outputs, loss, said, fit):
    with pytest.raises(nnx.NnxError, match=said):
        fit(X, t, outputs, loss)


def test_a_label_that_training_did_not_meet_is_told(fit):
    new = np.where(A > 0.9, "huge", SIZES)
    with pytest.raises(nnx.InputError, match="t_val: got 'huge' in row 57, which is none .* knows: 'large', 'medium'"):
        fit(X, SIZES, 3, validation_data=(X, new))
    trainer = fit(X, SIZES, 3, epochs=1)
    with pytest.raises(nnx.InputError, match="t: got 'huge' in row 57"):
        trainer.evaluate(X, new)
    with pytest.raises(
        nnx.InputError, match="class_weight: got a factor for 'huge', which is no label; labels are 'la"
    ):
        fit(X, SIZES, 3, class_weight={"huge": 2.0})


def test_what_is_no_class_is_not_predicted(fit):
    trainer = fit(X, A, 1, "mse", epochs=1)
    with pytest.raises(
        nnx.InputError, match=r"predict_classes: under MeanSquaredError\(\) .* are no scores of classes"
    ):
        trainer.predict_classes(X)
    trainer = fit(X, SIZES, 3, epochs=1)
    with pytest.raises(nnx.InputError, match="the outputs of 1 of 60 rows are NaN, the first in row 4"):
        trainer.predict_classes(np.where(np.arange(ROWS)[:, None] == 4, np.nan, X))
    trainer.model.classes = ("a", "b")
    with pytest.raises(nnx.InputError, match=r"classes: got the names \('a', 'b'\) for outputs of shape \(n, 3\)"):
        trainer.predict_classes(X)


def test_a_model_remembers_the_loss_it_was_trained_with(fit):
    trainer = fit(X, BIG, 1, "sigmoid_cross_entropy")
    np.testing.assert_array_equal(trainer.model.predict_proba(X), trainer.predict_proba(X))
    assert trainer.model.evaluate(X, BIG) == trainer.evaluate(X, BIG)
    assert copy.deepcopy(trainer.model).evaluate(X, BIG) == trainer.evaluate(X, BIG)
    assert trainer.model.accuracy(X, BIG[:, None]) == trainer.accuracy(X, BIG)


# Tables ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_its_columns(kind, fit, tmp_path):
    trainer, expected = fit(kind(COLUMNS), SIZES, 3, epochs=2), fit(X, SIZES, 3, epochs=2)
    assert trainer.history["loss"] == pytest.approx(expected.history["loss"], rel=1e-5)
    assert trainer.model.columns == ("a", "square", "above")
    x = kind(COLUMNS)
    turned = kind({name: COLUMNS[name] for name in ("above", "a", "square")})
    trainer.save(tmp_path / "c")
    for model in (trainer.model, nnx.Trainer.load(tmp_path / "c", backend="numpy").model, copy.deepcopy(trainer.model)):
        np.testing.assert_array_equal(model.predict(turned), model.predict(x))
        np.testing.assert_allclose(model.predict(turned), expected.predict(X), rtol=1e-4, atol=1e-6)
        assert model.accuracy(turned, SIZES) == model.accuracy(X, SIZES)
        with pytest.raises(
            nnx.InputError, match="x: the columns are not .*: missing 'above', unknown 'below'. Pass th"
        ):
            model.predict(kind({"a": A, "square": A, "below": A}))
    copied = copy.deepcopy(trainer.model)
    first = nnx.Trainer(trainer.model, "sgd").step(turned, np.zeros(ROWS, int))
    assert float(first) == pytest.approx(float(nnx.Trainer(copied, "sgd").step(X, np.zeros(ROWS, int))), rel=1e-5)


@pytest.mark.parametrize("kind", TABLES)
def test_columns_that_hold_no_numbers_are_named_with_a_cure(kind, fit):
    words = {
        "a": A,
        "day": np.arange(ROWS).astype("M8[ms]"),
        "size": SIZES.tolist(),
        "n": [str(i) for i in range(ROWS)],
    }
    with pytest.raises(nnx.InputTypeError) as caught:
        fit(kind(words), SIZES, 3)
    said = str(caught.value)
    for part in (
        "x_train: expected numbers, got columns 'day' (dates, such as '1970-01-01",
        "'size' (text, such as 'small'), 'n' (text, such as '0'). Convert numbers that are text, as by ",
        "; make a column of 0 and 1 for each class",
        "; make numbers of dates, such as days since the first",
        "; or leave out what says nothing",
    ):
        assert part in said
    if kind is pandas:
        assert "pandas.get_dummies(x_train, columns=['size'])" in said
        assert "x_train.drop(columns=['day', 'size', 'n'])" in said
    if kind is polars:
        assert "x_train.to_dummies(['size'])" in said


def test_a_column_of_arrays_is_no_number(fit):
    x = np.zeros(ROWS, [("a", "f4"), ("places", "f4", 3)])
    with pytest.raises(
        nnx.InputTypeError, match=r"column 'places' \(objects, such as '\[0. 0. 0.\]'\). Leave out what"
    ):
        fit(x, SIZES, 3)


def test_categories_are_no_numbers_even_if_they_look_so(fit):
    pd = pytest.importorskip("pandas")
    x = pd.DataFrame({"a": A, "shop": pd.Categorical(np.arange(ROWS) % 3)})
    with pytest.raises(
        nnx.InputTypeError, match=r"column 'shop' \(categories, such as '0'\). Make a column of 0 and 1"
    ):
        fit(x, SIZES, 3)


@pytest.mark.parametrize("kind", [table, pandas, polars])
def test_missing_and_infinite_values_are_named_by_column(kind, fit):
    holes = {"a": np.where(np.arange(ROWS) % 20 == 3, np.nan, A), "b": A, "c": np.where(A == 1, np.inf, A)}
    with pytest.raises(
        nnx.InputError,
        match=r"x_train: got missing or infinite values in columns 'a' \(3 of 60 rows\), 'c' \(1 of 60 rows\), the "
        r"first being row 3. Fill them, as by x_train.fillna\(x_train.median\(\)\) in pandas, or leave these rows out",
    ):
        fit(kind(holes), SIZES, 3)


def test_nullable_columns_are_numbers_and_their_holes_are_named(fit):
    pd = pytest.importorskip("pandas")
    x = pd.DataFrame(COLUMNS).assign(n=pd.array(range(ROWS), "Int64"), f=pd.array(A > 0, "boolean"))
    assert fit(x, SIZES, 3, epochs=1).model.columns == ("a", "square", "above", "n", "f")
    x.loc[5, "n"], x.loc[7, "f"] = pd.NA, pd.NA
    with pytest.raises(
        nnx.InputError, match=r"columns 'n' \(1 of 60 rows\), 'f' \(1 of 60 rows\), the first being row 5"
    ):
        fit(x, SIZES, 3)
    dummies = pd.get_dummies(pd.DataFrame({"size": SIZES, "a": A}))
    assert fit(dummies, SIZES, 3).accuracy(dummies, SIZES) == 1


def test_numbers_beyond_the_dtype_are_named(fit):
    wide = np.where(np.arange(ROWS) == 7, 1e39, A)
    said = r"got 1e\+39 in row 7, column {}, expected numbers up to 3.4e\+38, the greatest of float32. Scale the data"
    for x, column in ((table({"b": A, "a": wide}), "'a'"), (np.stack([A, wide], axis=1), "1")):
        with pytest.raises(nnx.InputError, match="x_train: " + said.format(column)):
            fit(x, SIZES, 3)
    trainer = fit(table({"b": A, "a": A}), SIZES, 3, epochs=1)
    with pytest.raises(nnx.InputError, match="x: " + said.format("'a'")):
        trainer.predict(table({"a": wide, "b": A}))
    with pytest.raises(nnx.InputError, match="x: got 1e.39 in row 1027, column 'b'"):
        trainer.predict(np.where(np.arange(1100)[:, None] == 1027, [1e39, 0], 0.0))
    with pytest.raises(nnx.InputError, match="x: " + said.format("'a'")):
        trainer.step(np.stack([A, wide], axis=1), np.zeros(ROWS, int))


def test_objects_that_are_numbers_are_numbers(fit):
    x = np.array([A.tolist(), BIG.tolist(), range(ROWS)], object).T
    assert fit(x, SIZES, 3, epochs=1).history == fit(x.astype(float), SIZES, 3, epochs=1).history
    words = np.array([A.tolist(), SIZES.tolist()], object).T
    with pytest.raises(nnx.InputTypeError, match=r"x_train: expected numbers, got column 1 \(text, such as 'small'\)"):
        fit(words, SIZES, 3)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        ({"a": A}, "x_train: got dtype object, expected numbers. A dict is no array: pass rows of numbers, or a table"),
        (SIZES[:, None], r"x_train: got dtype <U6, expected numbers. Numbers that are text are .* by .astype\(float\)"),
    ],
)
def test_what_is_neither_array_nor_table_is_told(x, said, fit):
    with pytest.raises(nnx.InputTypeError, match=said):
        fit(x, SIZES, 3)
    trainer = fit(X, SIZES, 3, epochs=1)
    with pytest.raises(nnx.InputTypeError, match=r"t: got dtype <U6, expected .* labels may be names in fit and evalu"):
        trainer.step(X, SIZES)


def test_a_frame_of_one_dtype_is_its_own_array(fit):
    frame = pandas({"a": A, "square": A**2})
    trainer = fit(frame, SIZES, 3, epochs=1)
    array = np.stack([A, A**2], axis=1)
    assert trainer.history == fit(array, SIZES, 3, epochs=1).history
    np.testing.assert_array_equal(trainer.predict(frame[["square", "a"]]), trainer.predict(array))
    with pytest.raises(nnx.InputError, match="missing 'square', unknown 'cube'"):
        trainer.predict(frame.rename(columns={"square": "cube"}))


def test_columns_without_names_are_taken_as_they_come(fit):
    pd = pytest.importorskip("pandas")
    assert fit(pd.DataFrame(X), SIZES, 3, epochs=1).model.columns == ()


def test_a_table_of_numbers_to_predict_has_no_classes(fit):
    trainer = fit(X, table({"one": A, "two": -A}), 2, "mse", epochs=1)
    assert trainer.model.classes == ()
    assert list(trainer.history) == ["loss", "r2"]


# The laboratory and the search ----------------------------------------------------------------------------------------


def test_inspect_names_what_is_confused(fit):
    trainer = fit(table(COLUMNS), SIZES, 3, epochs=3)
    turned = table({name: COLUMNS[name] for name in ("square", "above", "a")})
    found = nnx.lab.inspect(trainer, (turned, SIZES.tolist()))
    assert found.classes == ("large", "medium", "small")
    assert np.trace(found.confusion) / ROWS == trainer.accuracy(turned, SIZES)
    of_truth = nnx.lab.inspect(fit(X, BIG, 2, epochs=3), (X, BIG))
    assert of_truth.classes == ("False", "True")


def test_a_pair_with_names_is_data_for_experiments_and_searches():
    train = nnx.datasets.as_splits((table(COLUMNS), SIZES)).train
    assert train.classes == ("large", "medium", "small")
    assert train.x.dtype.kind == "f"
    data = SearchData.of((table(COLUMNS), SIZES), seed=0)
    assert data.classes == 3
    assert SearchData.of((X, A), seed=0).classes is None
    assert data.fit(nnx.Trainer(nnx.MLP((), 3), backend="numpy"), 1, 10, lambda *_: None)["val_accuracy"]
