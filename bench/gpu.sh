#!/usr/bin/env bash
# All that is to be done on a machine with an NVIDIA GPU, in under ten minutes: checks, tests, sanitizers, figures.
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
    local name=$1 limit=$2 start=$SECONDS
    shift 2
    echo "== $name"
    timeout "$limit" "$@" >"$out/$name.txt" 2>&1 || failed+=("$name ($?)")
    tail -n 3 "$out/$name.txt"
    echo "== $name took $((SECONDS - start)) s"
}

nvidia-smi >"$out/machine.txt" 2>&1
"$python" -m pip freeze >>"$out/machine.txt" 2>&1
part cublaslt 90 "$python" bench/gpu/cublaslt_check.py "$out/cublaslt.json"
part tests 150 "$python" -m pytest -q -m gpu -p no:cacheprovider tests/gpu
part kernels 60 "$python" bench/gpu/kernels.py "$out/kernels.json"
part steps 150 "$python" -m nnx bench --steps --peers --backends cupy,numba --rounds 1 --json "$out/steps.json"
part mixed 60 "$python" -m nnx bench --steps --peers --networks M16 --backends cupy --rounds 1 --json "$out/mixed.json"
part ops 30 "$python" -m nnx bench --ops --backends cupy --json "$out/ops.json"
# Our kernels alone: inside cuBLAS the sanitizer reports what is none of ours.
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
for tool in memcheck racecheck; do
    part "$tool" 60 "$sanitizer" --tool "$tool" --error-exitcode 9 "$python" -m nnx.testing cupy \
        relu sigmoid tanh relu_backward batch_norm batch_norm_backward dropout softmax softmax_cross_entropy \
        mean_squared_error sigmoid_cross_entropy narrow unscale_ sum_squares global_norm count_correct take adam_ sgd_ clip_ \
        running_average_
done

if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}"
    exit 1
fi
