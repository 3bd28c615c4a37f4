"""The settings of a search that must be the same in every process that shares it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

from .._support.checks import check_count, check_flag, check_seed
from ..errors import CheckpointError, InputError, InputTypeError, NnxError, unknown
from ..training import OF_TABLES, RunConfig, Trainer
from ._data import SearchData
from ._space import Choice, Space, Value, from_json, short

Build: TypeAlias = Callable[[dict[str, Any]], Trainer]
"""A user's function from the parameters of a trial to the trainer of an unbuilt model."""

METRICS = ("val_accuracy", "val_loss")
SAMPLERS = ("random", "tpe")
OWN = ("dataset", "epochs", "seed", "early_stopping")
"""Settings of `nnx train` that are the same in all trials of a search."""
SEARCHABLE = tuple(
    field.name
    for field in fields(RunConfig)
    if field.name not in (*OWN, *OF_TABLES, "model", "augment", "schedule", "image_size")
)
"""Settings of `nnx train` that a search without `build` can vary: those of a multilayer perceptron."""
_FLOATS = ("dropout", "lr", "weight_decay", "clip_norm", "init")
FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """Everything except the machine that the values and the scores of trials depend on."""

    space: Space
    trials: int
    """Number of trials in each round."""
    rounds: int
    epochs: int
    seed: int
    metric: str
    sampler: str
    prune: bool
    build: str | None
    """Name of the function passed as `build`; None without one."""
    data: str
    """Name of the data, for people to read."""
    source: str | None
    """The name or folder of the data for `nnx.datasets.load` and `nnx train`; None for data in memory."""
    validation_rows: int
    fingerprint: str

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a study stores them."""
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "space"}
        return {"format": FORMAT, "space": self.space.to_json(), **plain}

    @classmethod
    def from_json(cls, entry: Any, where: str) -> "Settings":
        """Read what `to_json` returned; raise `CheckpointError` for anything else."""
        try:
            values = dict(entry)
            if values.pop("format") != FORMAT:
                raise ValueError(f"its format is {entry['format']}, this version of nnx reads {FORMAT}")
            space = Space.of({name: from_json(value) for name, value in values.pop("space").items()})
            return cls(space, **values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{where}: holds no search that can be read ({error}); use another copy.") from error

    def check_same(self, stored: "Settings", where: str) -> None:
        """Raise `InputError` that names a difference from the stored search, if there is one."""
        got, kept = self.to_json(), stored.to_json()
        for name in got:
            if got[name] == kept[name] or name in ("data", "source", "validation_rows"):  # the fingerprint tells
                continue
            ours, theirs = got[name], kept[name]
            if name == "space":
                mine, other = ({**s.space.ranges, **s.space.fixed} for s in (self, stored))
                name = next(key for key in [*mine, *other] if mine.get(key) != other.get(key))  # noqa: PLW2901
                ours, theirs = (_text(space[name]) if name in space else "nothing" for space in (mine, other))
            if name == "fingerprint":
                raise InputError(
                    f"{where}: holds a search on other data ({stored.data}; the rows or their order differ from "
                    f"{self.data}); pass the same data, or another folder or name."
                )
            raise InputError(
                f"{where}: holds another search: {name} is {theirs} there, got {ours}; pass the same, or another "
                "folder or name."
            )

    def config(self, params: Mapping[str, Any]) -> RunConfig:
        """Return the settings of `nnx train` for a trial: the same rows, weights and batches give the same result."""
        chosen: dict[str, Any] = dict(params)
        if isinstance(chosen.get("hidden"), int):
            chosen["hidden"] = (chosen["hidden"],)  # as --hidden 100 is
        return replace(RunConfig(dataset=self.source or self.data, epochs=self.epochs, seed=self.seed), **chosen)


def _text(value: Any) -> str:
    return str(value) if hasattr(value, "scale") else repr(value)


def check_settings(
    space: Mapping[str, Any],
    data: SearchData,
    build: Build | None,
    *,
    trials: int,
    rounds: int,
    epochs: int,
    seed: int,
    metric: str | None,
    sampler: str,
    prune: bool,
) -> Settings:
    """Check the arguments of `search` and return the settings that they make."""
    if build is not None and not callable(build):
        raise InputTypeError(f"build: got {build!r}, expected a function of a trial's parameters that gives a Trainer.")
    if metric is None:
        metric = "val_accuracy" if data.classes is not None else "val_loss"
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if sampler not in SAMPLERS:
        raise unknown("sampler", sampler, SAMPLERS)
    settings = Settings(
        space=Space.of(space),
        trials=check_count("trials", trials),
        rounds=check_count("rounds", rounds),
        epochs=check_count("epochs", epochs),
        seed=check_seed(seed),
        metric=metric,
        sampler=sampler,
        prune=check_flag("prune", prune),
        build=None if build is None else getattr(build, "__qualname__", type(build).__qualname__),
        data=data.name,
        source=data.source,
        validation_rows=len(data.validation[0]),
        fingerprint=data.fingerprint(),
    )
    if build is None:
        settings = replace(settings, space=_check_built_in(settings, data))
    batch_size = settings.space.ranges.get("batch_size", settings.space.fixed.get("batch_size", 1))
    for size in ends(batch_size):
        check_count("batch_size", size)
    return settings


def _check_built_in(settings: Settings, data: SearchData) -> Space:
    """Check a space of settings of `nnx train`: a network must be possible at every end of every range.

    Return it with floats for whole-number ends where the setting is no count.
    """
    if data.classes is None:
        raise InputError(
            "data: a pair of arrays needs build=, a function that gives a Trainer for them; the networks of `nnx "
            "train` take a Dataset, whose classes are known."
        )
    ranges, fixed = dict(settings.space.ranges), settings.space.fixed
    for name in [*ranges, *fixed]:
        if name in OWN:
            raise InputError(f"{name}: is the same in all trials of a search; pass it beside the space.")
        if name not in SEARCHABLE:
            raise unknown("parameter", name, SEARCHABLE)
    for name, span in ranges.items():
        if name in _FLOATS and not isinstance(span, Choice) and span.whole:
            ranges[name] = type(span)(float(span.low), float(span.high))
    for name in ranges:
        for value in ends(ranges[name]):
            _check_end(settings, {**fixed, name: value}, f"{name}={short(value)}")
    _check_end(settings, fixed, "the fixed values")
    return Space(ranges, fixed)


def _check_end(settings: Settings, params: Mapping[str, Value], what: str) -> None:
    try:
        settings.config(params).trainer(2)
    except NnxError as error:
        raise InputError(f"space: {what} cannot be used: {error}") from None


def ends(value: Any) -> tuple[Any, ...]:
    """Return the first and the last value of a range, all values of a choice, or a fixed value itself."""
    if isinstance(value, Choice):
        return value.values
    return (value.low, value.high) if hasattr(value, "low") else (value,)


def trainer_for(
    settings: Settings, params: dict[str, Any], data: SearchData, build: Build | None, backend: str | None
) -> Trainer:
    """Return the trainer of a trial, its model not yet built."""
    if build is None:
        if data.classes is None:
            raise InputError("data: a pair of arrays needs build=, the function that the search was run with.")
        return settings.config(params).trainer(data.classes, backend)
    trainer: Any = build(dict(params))
    if not isinstance(trainer, Trainer):
        raise WrongBuild(f"build: gave {trainer!r}, expected an nnx.Trainer.")
    if settings.metric == "val_accuracy" and trainer.loss.metric != "accuracy":
        raise WrongBuild(f"metric: {trainer.loss!r} has no accuracy; pass metric='val_loss'.")
    return trainer


class WrongBuild(InputTypeError):  # noqa: N818  raised as an InputTypeError is
    """`build` returned something that would be wrong in every trial."""
