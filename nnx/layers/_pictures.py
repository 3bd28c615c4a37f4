"""Pictures: (n, channels, height, width) for users, (n, height, width, channels) for operations."""

from collections.abc import Sequence
from typing import Any

from .._support.checks import check_count
from ..errors import InputError
from ..ops import Array, Ops, Pair


def channels_last(ops: Ops, x: Array, out: Array | None = None) -> Array:
    """Return pictures (n, c, h, w) as (n, h, w, c); in `out`, if that is given and elements change their places."""
    return _turned(ops, x, (x.shape[2], x.shape[3], x.shape[1]), x.shape[1], out)


def channels_first(ops: Ops, x: Array, out: Array | None = None) -> Array:
    """Return pictures (n, h, w, c) as (n, c, h, w); `out` as for `channels_last`."""
    return _turned(ops, x, (x.shape[3], x.shape[1], x.shape[2]), x.shape[1] * x.shape[2], out)


def _turned(ops: Ops, x: Array, shape: tuple[int, ...], rows: int, out: Array | None) -> Array:
    n, columns = x.shape[0], shape[0] * shape[1] * shape[2] // max(1, rows)
    if rows != 1 and columns != 1:
        into = None if out is None else ops.xp.reshape(out, (n, columns, rows))
        x = ops.swap_axes(ops.xp.reshape(x, (n, rows, columns)), out=into)
    return ops.xp.reshape(x, (n, *shape))


def pair(name: str, value: Any, least: int) -> Pair:
    """Return a whole number for both directions, or two of them, (down, across), as a pair; raise for anything else."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != 2:
            raise InputError(f"{name}: got {value!r}, expected one number, or two: (down, across).")
        return check_count(name, value[0], least), check_count(name, value[1], least)
    number = check_count(name, value, least)
    return number, number


def shown(numbers: Pair) -> "int | Pair":
    """Return a pair as it is written in a setting: one number where both are equal."""
    return numbers[0] if numbers[0] == numbers[1] else numbers


def check_shape(layer: object, shape: tuple[int, ...]) -> None:
    """Raise unless a shape without the rows is that of pictures, (channels, height, width)."""
    if len(shape) == 3:
        return
    got, hint = f"(n, {', '.join(map(str, shape))})", ""
    if len(shape) == 2:
        hint = f" For pictures of one channel: x.reshape(-1, 1, {shape[0]}, {shape[1]}); of a Dataset: data.pictures()."
    elif len(shape) == 1:
        side = round(shape[0] ** 0.5)
        example = f"1, {side}, {side}" if side * side == shape[0] else "channels, height, width"
        hint = f" Reshape the rows to pictures: x.reshape(-1, {example})."
    raise InputError(f"{layer!r}: got inputs of shape {got}, expected pictures (n, channels, height, width).{hint}")


def check_pictures(layer: object, x: Array, channels: int | None = None) -> None:
    """Raise unless an array is of pictures (n, channels, height, width), of so many channels if that is given."""
    check_shape(layer, tuple(x.shape[1:]))
    if channels is not None and x.shape[1] != channels:
        raise InputError(
            f"{layer!r}: got inputs of shape {tuple(x.shape)}, expected {channels} channels: (n, {channels}, h, w)."
        )
    if x.shape[0] == 0:
        raise InputError(f"{layer!r}: got no rows, expected at least one.")
    if 0 in x.shape:
        raise InputError(f"{layer!r}: got inputs of shape {tuple(x.shape)}, expected at least one of each.")


def output_shape(layer: object, shape: tuple[int, ...], size: Pair, stride: Pair, pad: Pair) -> Pair:
    """Return how many places a window has, down and across, on pictures of a height and width; raise if none."""
    room = [length + 2 * p for length, p in zip(shape, pad, strict=True)]
    if room[0] < size[0] or room[1] < size[1]:
        padded = f", with the padding {room[0]} x {room[1]}" if pad != (0, 0) else ""
        raise InputError(
            f"{layer!r}: got pictures of {shape[0]} x {shape[1]}{padded}, expected at least the window's "
            f"{size[0]} x {size[1]}; take a smaller size, a larger pad, or fewer poolings before it."
        )
    down, across = ((room[i] - size[i]) // stride[i] + 1 for i in range(2))
    return down, across


def check_pad(name: str, pad: Pair, size: Pair) -> None:
    """Raise if a window could lie beside the pictures."""
    if pad[0] >= size[0] or pad[1] >= size[1]:
        raise InputError(
            f"{name}: got {shown(pad)}, expected less than the size, {shown(size)}: a window would see no picture."
        )
