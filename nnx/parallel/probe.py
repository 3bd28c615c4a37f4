"""What it costs these ranks to exchange gradients: `nnx launch --probe` runs this."""

from ._interconnect import Interconnect, measure
from ._world import world

_PARAMETERS = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)


def report(ranks: int, found: Interconnect) -> str:
    """Return what was measured, and from which step on these ranks are faster than one process.

    Args:
        ranks: how many there are.
        found: what lies between them.
    """
    lines = [
        f"{ranks} ranks: {found.latency * 1e6:.0f} microseconds a message, {found.bandwidth / 1e9:.3g} GB/s a rank",
        "",
        "parameters    exchange of a step    faster where a step of one process takes more than",
    ]
    for parameters in _PARAMETERS:
        size = 4 * parameters
        exchange, least = found.exchange(ranks, size), found.pays_from(ranks, size)
        lines.append(f"{parameters:11,}   {exchange * 1e3:15.3f} ms   {least * 1e3:15.3f} ms")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the report on rank 0."""
    communicator = world()
    if communicator.size < 2:
        print("one process alone exchanges nothing: nnx launch -n 2 --probe, or more.")
        return
    found = measure(communicator)
    if communicator.rank == 0:
        print(report(communicator.size, found))


if __name__ == "__main__":
    main()
