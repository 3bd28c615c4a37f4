#!/usr/bin/env bash
# All that is to be done on a machine with an NVIDIA GPU, in ten minutes at most: checks, tests, sanitizers, figures.
#
#   bench/gpu.sh [FOLDER]      default: gpu-results
#
# Every part writes its file in the folder, whatever the others do; the exit status tells whether all went well.
# PYTHON (default python3) must have what `pip install 'nnx-array[cuda13,test]'` brings; where nothing can be installed,
# WHEELS names a folder with the wheels that are missing, nnx's own among them (pip wheel --no-deps -w FOLDER .).
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-gpu-results}
mkdir -p "$out"
out=$(realpath "$out")
python=${PYTHON:-python3}
if [ -n "${WHEELS:-}" ]; then
    site=$(mktemp -d)
    "$python" -m pip install -q --no-index --no-deps --target "$site" "$WHEELS"/*.whl || exit 1
    export PYTHONPATH=$site
fi
export PYTHONUNBUFFERED=1
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
failed=()

part() { # name, seconds at most, command...
    local name=$1 limit=$2 start=$SECONDS left=$((585 - SECONDS))
    shift 2
    if [ "$left" -lt 5 ]; then
        failed+=("$name (no time left)")
        return
    fi
    echo "== $name"
    timeout -k 5 $((limit < left ? limit : left)) "$@" >"$out/$name.txt" 2>&1 || failed+=("$name ($?)")
    tail -n 3 "$out/$name.txt"
    echo "== $name took $((SECONDS - start)) s"
}

nvidia-smi >"$out/machine.txt" 2>&1
"$python" -m pip freeze >>"$out/machine.txt" 2>&1
# What the clocks were, second by second.
nvidia-smi --query-gpu=timestamp,name,clocks.sm,clocks.mem,clocks.max.sm,power.draw,temperature.gpu --format=csv -l 1 \
    >"$out/clocks.csv" 2>&1 &
trap "kill $! 2>/dev/null" EXIT

part cublaslt 75 "$python" bench/gpu/cublaslt_check.py "$out/cublaslt.json"
part tests 140 "$python" -m pytest -q -m gpu -p no:cacheprovider tests/gpu
part kernels 45 "$python" bench/gpu/kernels.py "$out/kernels.json"
part steps 105 "$python" -m nnx bench --steps --peers --backends cupy --rounds 1 --json "$out/steps.json"
part mixed 50 "$python" -m nnx bench --steps --peers --networks M16 --backends cupy --rounds 1 --json "$out/mixed.json"
part crossover 45 "$python" -m nnx bench --steps --networks S --backends cupy,numba --rounds 1 --json "$out/crossover.json"
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
for tool in memcheck racecheck; do
    part "$tool" 50 "$sanitizer" --tool "$tool" --error-exitcode 9 "$python" bench/gpu/own_kernels.py
done
part ops 30 "$python" -m nnx bench --ops --backends cupy --json "$out/ops.json"

if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}"
    exit 1
fi
