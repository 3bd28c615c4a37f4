#!/usr/bin/env python3
"""An mpiexec that starts processes on this machine, without an MPI: told apart by their environment, as by MPICH's.

As Hydra does, it ends all when one ends badly, with a banner and that one's status.
"""

import os
import subprocess
import sys
import time

if sys.argv[1] == "--version":
    print("HYDRA build details: a toy")
    sys.exit()
assert sys.argv[1] == "-n"
size = int(sys.argv[2])
ranks = [
    subprocess.Popen(
        sys.argv[3:],
        env=os.environ
        | {"PMI_RANK": str(rank), "PMI_SIZE": str(size), "MPI_LOCALRANKID": str(rank), "MPI_LOCALNRANKS": str(size)},
        start_new_session=True,
    )
    for rank in range(size)
]
try:
    while any(rank.poll() is None for rank in ranks) and not any(rank.poll() for rank in ranks):
        time.sleep(0.01)
finally:
    for rank in ranks:
        rank.kill()
bad = [abs(rank.wait()) for rank in ranks if rank.poll()]
if bad:
    print("BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES")
    sys.exit(bad[0])
