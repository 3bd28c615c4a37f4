"""The BLAS that NumPy's matrix products call."""

from threadpoolctl import threadpool_info


def blas() -> dict[str, str]:
    """Describe it and its threads, as entries of a backend's `device_info`; empty where it is not known.

    SciPy, which Numba loads, brings another one, at a moment that nobody chooses: NumPy's own lies in its folder, and
    one of the system was loaded first.
    """
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    if not pools:
        return {}
    pool = min(pools, key=lambda pool: "numpy" not in pool["filepath"])
    return {
        "blas": f"{pool['internal_api']} {pool['version']} ({pool.get('architecture', 'unknown core')})",
        "blas threads": str(pool["num_threads"]),
    }
