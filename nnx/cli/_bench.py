"""`nnx bench`: the speed of this machine."""

from pathlib import Path
from typing import Annotated

import typer

from ._app import command


@command(
    "nnx bench --steps",
    "nnx bench --backends numpy,numba --json speed.json",
    "nnx bench train.py                  # a script of yours",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": False},
)
def bench(
    ctx: typer.Context,
    script: Annotated[
        Path | None, typer.Argument(help="A training script to time instead, with its arguments.")
    ] = None,
    backends: Annotated[str | None, typer.Option(help="Names, separated by commas; default: all that can run.")] = None,
    ops: Annotated[bool, typer.Option("--ops", help="Single operations only.")] = False,
    steps: Annotated[bool, typer.Option("--steps", help="Training steps only.")] = False,
    networks: Annotated[
        str, typer.Option(help="Networks of the training steps: S, L, M, and M16 (M with products in bfloat16).")
    ] = "S,L,M",
    rounds: Annotated[int, typer.Option(help="Processes of each backend, which take turns.")] = 3,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything to this file, anew after every result.")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Draw the training steps into this file.")] = None,
) -> None:
    """Measure how fast this machine and its backends are.

    Measured are the machine's own rates, single operations compared with these, training steps, and from which batch
    size on one backend is faster than another.
    """
    from ..bench.run import Run, draw_steps

    run = Run(backends, networks, rounds, json_file)
    if script is not None:
        run.script(script, ctx.args)
    else:
        both = ops == steps
        if both or ops:
            run.ops()
        if both or steps:
            table = run.steps(run.backends, ["-m", "nnx.bench.steps"])
            run.crossover()
            run.overhead()
            if png is not None:
                draw_steps(png, table)
    run.finish()
