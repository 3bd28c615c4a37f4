"""Networks from PyTorch and to it: `torch.nn.Sequential` with equal outputs."""

import importlib.util
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support.checks import check_dtype
from .._support.pages import see
from ..backend import BackendLike
from ..errors import InputError, InputTypeError
from ..layers import (
    ELU,
    GELU,
    Affine,
    AveragePooling,
    BatchNorm,
    Convolution,
    Dropout,
    Flatten,
    GlobalAveragePooling,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    MaxPooling,
    Pooling,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from ..model import Sequential
from ..ops import HostArray, dtype_name

if TYPE_CHECKING:
    import torch

_SETTINGS: dict[type[Layer], dict[str, str]] = {
    **{cls: {} for cls in (ReLU, Sigmoid, Tanh, GELU, SiLU, Softplus, Identity)},
    LeakyReLU: {"slope": "negative_slope"},
    ELU: {"alpha": "alpha"},
}
"""Layers without parameters that PyTorch calls the same, with the names of their settings here and there."""
_ONLY = {"GELU": ("approximate", "none"), "Softplus": ("beta", 1.0)}
"""What such a layer of PyTorch's must be set to."""
_POOLINGS = (MaxPooling, AveragePooling, GlobalAveragePooling)
_CONVERTED = (Affine, Convolution, *_POOLINGS, BatchNorm, LayerNorm, Dropout, Flatten, *_SETTINGS)
_KNOWN = (
    "Linear", "Conv2d", "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d", "BatchNorm1d", "BatchNorm2d", "LayerNorm",
    "Dropout", "Flatten", *(cls.__name__ for cls in _SETTINGS),
)  # fmt: skip
"""PyTorch's layers that can be converted."""
_SCALE = {"weight": "gamma", "bias": "beta"}
_SCALABLE = (ReLU, LeakyReLU, Identity, Flatten, *_POOLINGS)
"""f(c * x) = c * f(x) for c > 0."""


def from_torch(
    module: "torch.nn.Module",
    *,
    backend: BackendLike = None,
    dtype: str | None = None,
    input_shape: "Sequence[int] | int | None" = None,
) -> Sequential:
    """Make a built model with the outputs of a PyTorch module, whose parameters and running statistics it copies.

    BatchNorm's momentum is 1 minus PyTorch's. In training PyTorch's running variance averages the batch's unbiased
    variance, n / (n - 1) times the one that `BatchNorm` averages; all else of a training step is equal.

    Args:
        module: a `torch.nn.Sequential`, nested ones among its layers, or a layer alone: Linear, Conv2d (padded with
            zeros), MaxPool2d, AvgPool2d, AdaptiveAvgPool2d(1) with the Flatten after it, BatchNorm1d, BatchNorm2d,
            ReLU, LeakyReLU, ELU, GELU, SiLU, Softplus, Sigmoid, Tanh, LayerNorm of one axis, Dropout (as
            `Dropout(inverted=True)`), Flatten, Identity; on any device.
        backend: as for `Sequential.build`.
        dtype: "float32" or "float64"; default the module's.
        input_shape: of one row; needed for pictures, and where no Linear, BatchNorm1d or LayerNorm tells it before
            anything is flattened.

    Raises:
        InputError: a part has no equal here (the message tells its place in the module), or PyTorch is missing.
        InputTypeError: `module` is no `torch.nn.Module`.
    """
    _need_torch("from_torch")
    import torch

    if not isinstance(module, torch.nn.Module):
        raise InputTypeError(f"from_torch: got {module!r}, expected a torch.nn.Sequential.")
    places = list(_flattened(module, ""))
    _check_not_shared(places)
    own = {dtype_name(p) for p in module.parameters()}
    if dtype is None and len(own) > 1:
        raise InputError(f"from_torch: the module has parameters of {' and '.join(sorted(own))}; pass dtype='float32'.")
    if dtype is None and not own <= {"float32", "float64"}:
        raise InputError(f"from_torch: the module has parameters of {own.pop()}; pass dtype='float32' to convert them.")
    dtype = check_dtype(dtype if dtype is not None else own.pop() if own else "float32")

    layers: list[Layer] = []
    given = {}
    rest = iter(places)
    for place, part in rest:
        i = len(layers)
        try:
            if type(part) is torch.nn.AdaptiveAvgPool2d:
                layers.append(_global_average_pooling(part, next(rest, (place, None))[1]))
            else:
                layers.append(_layer(part, dtype))
        except InputError as error:
            raise InputError(f"from_torch: {place}: {error}") from None
        if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            given[f"{i}.running_mean"] = _host(part.running_mean, dtype)
            given[f"{i}.running_var"] = _host(part.running_var, dtype)
        elif isinstance(part, torch.nn.LayerNorm):
            given |= {f"{i}.{ours}": _host(getattr(part, theirs), dtype) for theirs, ours in _SCALE.items()}
    if input_shape is None:
        input_shape = _input_shape(places)
    model = Sequential(*layers).build(input_shape, backend=backend, dtype=dtype)
    model.load_state_dict(model.state_dict() | given)
    return model


def _need_torch(what: str) -> None:
    if importlib.util.find_spec("torch") is None:
        raise InputError(f"{what}: needs PyTorch, which is not installed; pip install torch.")


def _flattened(module: "torch.nn.Module", place: str) -> Iterator[tuple[str, "torch.nn.Module"]]:
    """Yield the layers in their order, each after its place in words."""
    import torch

    here = place or "the module"
    if module._forward_hooks or module._forward_pre_hooks:  # noqa: SLF001  there is no public name
        raise InputError(f"from_torch: {here} has forward hooks, which cannot be converted; remove them first.")
    if not isinstance(module, torch.nn.Sequential):
        yield f"{here}, {module!r}", module
        return
    if type(module).forward is not torch.nn.Sequential.forward:
        raise InputError(
            f"from_torch: {here} is a {type(module).__name__} with a forward of its own, expected a "
            "torch.nn.Sequential."
        )
    for name, part in module._modules.items():  # noqa: SLF001  named_children would leave out what comes twice
        if part is not None:
            yield from _flattened(part, f"{place}.{name}" if place else f"layer {name}")


def _check_not_shared(places: "Sequence[tuple[str, torch.nn.Module]]") -> None:
    seen: dict[int, str] = {}
    for place, part in places:
        for parameter in part.parameters():
            if id(parameter) in seen:
                raise InputError(
                    f"from_torch: {place} shares a parameter with {seen[id(parameter)]}; in nnx every layer has its "
                    "own. Copy the layer first."
                )
            seen[id(parameter)] = place


def _input_shape(places: "Sequence[tuple[str, torch.nn.Module]]") -> int:
    from torch import nn

    for place, part in places:
        if isinstance(part, nn.Linear):
            return int(part.in_features)
        if isinstance(part, nn.BatchNorm1d):
            return int(part.num_features)
        if isinstance(part, nn.LayerNorm):
            return int(part.normalized_shape[0])
        if isinstance(part, nn.Conv2d | nn.BatchNorm2d | nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d):
            channels = getattr(part, "in_channels", getattr(part, "num_features", 3))
            raise InputError(
                f"from_torch: {place}: takes pictures, and the module does not tell how large they are; pass "
                f"(channels, height, width), as by input_shape=({channels}, 28, 28)."
            )
        if isinstance(part, nn.Flatten):
            break
    raise InputError(
        "from_torch: the module does not tell the shape of its inputs; pass it without the rows, as by "
        "input_shape=(28, 28)."
    )


def _layer(part: "torch.nn.Module", dtype: str) -> Layer:
    """Return the layer that does the same, with copies of the parameters."""
    from torch import nn

    kind: Any = type(part)  # a subclass may do something else
    if kind is nn.Linear:
        bias = None if part.bias is None else _host(part.bias, dtype)
        return Affine(_host(part.weight, dtype).T, bias)
    if kind is nn.Conv2d:
        return _convolution(part, dtype)
    if kind in (nn.MaxPool2d, nn.AvgPool2d):
        return _pooling(part)
    if kind in (nn.BatchNorm1d, nn.BatchNorm2d):
        return _batch_norm(part, dtype)
    if kind is nn.Dropout:
        return Dropout(part.p, inverted=True)
    if kind is nn.Flatten:
        if (part.start_dim, part.end_dim) != (1, -1):
            raise InputError("flattens in part; expected start_dim=1 and end_dim=-1.")
        return Flatten()
    if kind is nn.LayerNorm:
        return _layer_norm(part)
    for cls, settings in _SETTINGS.items():
        if kind is getattr(nn, cls.__name__):
            setting, only = _ONLY.get(cls.__name__, ("", None))
            if setting and getattr(part, setting) != only:
                raise InputError(f"has no equal in nnx; expected {setting}={only!r}.")
            return cls(**{ours: getattr(part, theirs) for ours, theirs in settings.items()})
    raise InputError(f"has no equal in nnx; expected Sequential or one of {', '.join(_KNOWN)}. {see('interop')}")


def _convolution(part: Any, dtype: str) -> Convolution:
    if part.groups != 1:
        raise InputError(
            f"has {part.groups} groups of channels, while a filter of nnx.Convolution sees all channels; use groups=1."
        )
    if part.dilation != (1, 1):
        raise InputError("has a dilation, which nnx.Convolution has not; use dilation=1.")
    pad = part.padding
    if pad == "same" and any(length % 2 == 0 for length in part.kernel_size):
        raise InputError(
            "pads more at one side than at the other, for its filters' size is even; nnx.Convolution pads both sides "
            "alike. Use a number for padding."
        )
    if isinstance(pad, str):
        pad = tuple(length // 2 if pad == "same" else 0 for length in part.kernel_size)
    if part.padding_mode != "zeros" and pad != (0, 0):
        raise InputError(f"pads by {part.padding_mode!r}, nnx.Convolution with zeros; use padding_mode='zeros'.")
    bias = None if part.bias is None else _host(part.bias, dtype)
    return Convolution(_host(part.weight, dtype), bias, part.stride, pad)


def _pooling(part: Any) -> Pooling:
    from torch import nn

    largest = isinstance(part, nn.MaxPool2d)
    kind = MaxPooling if largest else AveragePooling
    if part.ceil_mode:
        raise InputError(f"rounds the size of its output up, nnx.{kind.__name__} down; use ceil_mode=False.")
    if largest and part.dilation not in (1, (1, 1)):
        raise InputError("has a dilation, which nnx.MaxPooling has not; use dilation=1.")
    if largest and part.return_indices:
        raise InputError("returns indices beside its outputs; use return_indices=False.")
    if not largest and part.divisor_override is not None:
        raise InputError("divides by another number than the window's size; use divisor_override=None.")
    if not largest and not part.count_include_pad and part.padding not in (0, (0, 0)):
        raise InputError(
            "leaves the padding out of its means, nnx.AveragePooling counts its zeros; use count_include_pad=True."
        )
    return kind(part.kernel_size, part.stride, part.padding)


def _global_average_pooling(part: Any, after: Any) -> GlobalAveragePooling:
    from torch import nn

    if part.output_size not in (1, (1, 1)):
        raise InputError("has an equal in nnx only for one number of each channel; expected output_size=1.")
    if type(after) is not nn.Flatten or (after.start_dim, after.end_dim) != (1, -1):
        raise InputError("keeps axes of length 1, nnx.GlobalAveragePooling none; put a Flatten() directly after it.")
    return GlobalAveragePooling()


def _batch_norm(part: Any, dtype: str) -> BatchNorm:
    if part.weight is None or part.bias is None:
        raise InputError("learns no weight or no bias, nnx.BatchNorm always both; use affine=True.")
    if not part.track_running_stats:
        raise InputError(
            "has no running statistics, without which nnx.BatchNorm cannot predict; use track_running_stats=True."
        )
    if part.momentum is None or part.momentum == 0:
        how = "averages over all batches" if part.momentum is None else "never changes its running statistics"
        raise InputError(f"{how}, which nnx.BatchNorm cannot; use a momentum such as 0.1.")
    return BatchNorm(_host(part.weight, dtype), _host(part.bias, dtype), momentum=1.0 - part.momentum, eps=part.eps)


def _layer_norm(part: Any) -> LayerNorm:
    if len(part.normalized_shape) != 1:
        raise InputError(f"normalises {len(part.normalized_shape)} axes, nnx.LayerNorm one: that of the features.")
    if part.weight is None or part.bias is None:
        raise InputError("learns no weight or no bias, nnx.LayerNorm always both; use elementwise_affine=True.")
    return LayerNorm(part.eps)


def _host(tensor: Any, dtype: str) -> Any:
    """Copy a tensor to a NumPy array, through float64, which holds the numbers of every other dtype."""
    return tensor.detach().cpu().double().numpy().astype(dtype)


def to_torch(model: Sequential) -> "torch.nn.Sequential":
    """Convert a model to a PyTorch module; see `Sequential.to_torch`."""
    _need_torch("to_torch")
    from torch import nn

    parts: list[Any] = []
    owed: tuple[float, str] | None = None
    """The factor of classical dropouts that the next layer with weights takes into them; the first of them in words."""
    for i, (layer, shape) in enumerate(zip(model.layers, [model.input_shape, *model.shapes], strict=False)):
        place = f"layer {i}, {layer!r}"
        kind: Any = type(layer)  # a subclass may do something else
        if kind not in _CONVERTED:
            known = ", ".join(cls.__name__ for cls in _CONVERTED)
            raise InputError(
                f"to_torch: {place}: has no known equal in PyTorch; expected one of {known}. {see('interop')}"
            )
        if owed is not None and kind not in (Affine, Convolution, Dropout, *_SCALABLE):
            raise _not_expressible(owed[1])
        arrays = {name: model.ops.to_host(array) for name, array in (layer.params | layer.running).items()}
        if isinstance(layer, Affine | Convolution):
            parts.append(_weighted(layer, arrays, 1.0 if owed is None else owed[0]))
            owed = None
        elif isinstance(layer, Pooling):
            parts.append(_window(layer, place))
        elif isinstance(layer, GlobalAveragePooling):
            parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        elif isinstance(layer, BatchNorm):
            norm = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
            parts.append(_norm(norm, layer.eps, arrays, momentum=1.0 - layer.momentum))
        elif isinstance(layer, LayerNorm):
            parts.append(_norm(nn.LayerNorm, layer.eps, arrays))
        elif isinstance(layer, Dropout):
            parts.append(nn.Dropout(layer.dropout_ratio))
            if layer.inference_factor != 1.0:
                factor, first = owed or (1.0, place)
                owed = factor * layer.inference_factor, first
        else:
            settings = {theirs: getattr(layer, ours) for ours, theirs in _SETTINGS.get(kind, {}).items()}
            parts.append(getattr(nn, kind.__name__)(**settings))
    if owed is not None:
        raise _not_expressible(owed[1])
    return nn.Sequential(*parts)


def _not_expressible(place: str) -> InputError:
    return InputError(
        f"to_torch: {place}: scales in prediction, nn.Dropout in training, and no Affine or Convolution follows "
        "directly that could make up for it; use Dropout(inverted=True)."
    )


def _weighted(layer: Affine | Convolution, arrays: "dict[str, HostArray]", factor: float) -> Any:
    """Make a layer with weights, multiplied by a factor, and perhaps a bias."""
    import torch

    w = torch.from_numpy(arrays["W"] * np.asarray(factor, arrays["W"].dtype))
    kind: Any = torch.nn.Linear
    settings: dict[str, Any] = {"bias": layer.bias, "dtype": w.dtype}
    if isinstance(layer, Convolution):
        kind = torch.nn.Conv2d
        settings |= {"kernel_size": layer.window, "stride": layer.steps, "padding": layer.margin}
    else:
        w = w.T
    # skip_init: drawing weights would move PyTorch's global generator.
    part = torch.nn.utils.skip_init(kind, w.shape[1], w.shape[0], **settings)
    biases = {"bias": torch.from_numpy(arrays["b"])} if "b" in arrays else {}
    part.load_state_dict({"weight": w, **biases})
    return part


def _window(layer: Pooling, place: str) -> Any:
    """Make a pooling with a window."""
    from torch import nn

    kind: Any = nn.MaxPool2d if isinstance(layer, MaxPooling) else nn.AvgPool2d
    if any(2 * pad > size for pad, size in zip(layer.margin, layer.window, strict=True)):
        raise InputError(
            f"to_torch: {place}: pads by more than half its size, which nn.{kind.__name__} refuses; take a smaller pad."
        )
    return kind(layer.window, layer.steps, layer.margin)


def _norm(kind: Any, eps: float, arrays: "dict[str, HostArray]", **settings: Any) -> Any:
    """Make a normalisation of a kind, with the parameters and running statistics."""
    import torch

    names = {"running_mean": "running_mean", "running_var": "running_var", **_SCALE}
    state = {theirs: torch.from_numpy(arrays[ours]) for theirs, ours in names.items() if ours in arrays}
    norm = kind(len(arrays["gamma"]), eps=eps, dtype=state["weight"].dtype, **settings)
    norm.load_state_dict(norm.state_dict() | state)
    return norm
