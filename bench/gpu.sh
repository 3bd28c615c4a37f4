#!/usr/bin/env bash
# All that is to be done on a machine with an NVIDIA GPU, in ten minutes at most: checks, tests, figures, sanitizers.
#
#   bench/gpu.sh [FOLDER]      default: $OUT, or gpu-results; on a borrowed machine that gives back what lies in $OUT,
#                              just `bench/gpu.sh`
#
# FOLDER gets seven files, and never more than eight, since a borrowed machine may give back no more:
#   summary.txt      the machine, then each part with its end and its seconds
#   results.tar.gz   everything: each part's output, clocks, logs
#   and the most valuable of it once more: probes.txt cublaslt.json tests.txt kernels.json steps.txt
# All are written anew after each part, and every 15 seconds while one runs: a machine that is taken away takes no more
# than that with it. A part that fails or takes too long harms no other; the exit status tells whether all went well,
# the last line what did not.
#
# FOLDER must not hold another run's results yet.
#
# PYTHON (default python3) must have what `pip install 'nnx-array[cuda13,test]'` brings; where nothing can be installed,
# WHEELS names a folder with the wheels that are missing, nnx's own among them (pip wheel --no-deps -w FOLDER .).
# PARTS  names of the parts to do, such as "memcheck racecheck"; default: all. DRY=1 lists them, with their limits.
# BUDGET seconds for all together, 570; LIMIT seconds that no part may exceed; EVERY seconds the results are written.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3}
parts=${PARTS:-} budget=${BUDGET:-570} most=${LIMIT:-600} every=${EVERY:-15}
grace=5 # seconds between asking a part to end and killing it
valuable=(summary.txt probes.txt cublaslt.json tests.txt kernels.json steps.txt)
machine=() ended=() failed=() now='' running='' sampler=''

if [ -z "${DRY:-}" ]; then
    out=${1:-${OUT:-gpu-results}}
    mkdir -p "$out" || exit 1
    out=$(realpath "$out")
    if [ -e "$out/results.tar.gz" ]; then
        echo "$out holds the results of another run; name another folder, or move them" >&2
        exit 1
    fi
    work=$(mktemp -d)
    results=$work/results # all files, whatever their number
    mkdir "$results"
    mkfifo "$work/ends" && exec 3<>"$work/ends" # where parts say how they ended
else
    results=RESULTS
fi

put() { # a file of the folder, renamed in place: whole whenever somebody looks. The one name beside the seven is "new"
    mv -f "$out/new" "$out/$1"
}

save() {
    {
        printf '%s\n' "${machine[@]}" ''
        [ ${#ended[@]} -eq 0 ] || printf '%s\n' "${ended[@]}"
        [ -z "$now" ] || echo "$now: running"
    } >"$results/summary.txt"
    local file found group
    for group in probes steps; do
        compgen -G "$results/${group}_*.txt" >/dev/null && tail -v -n +1 "$results/${group}_"*.txt >"$work/$group.txt"
    done
    for file in "${valuable[@]}"; do
        for found in "$work/$file" "$results/$file"; do
            [ ! -e "$found" ] || { cp "$found" "$out/new" && put "$file"; }
        done
    done
    # Status 1: a file grew meanwhile, which is all right.
    tar -czf "$out/new" -C "$results" . 2>"$work/tar"
    [ $? -gt 1 ] || put results.tar.gz
}

finish() {
    if [ -n "$now" ]; then
        ended+=("$now: stopped")
        now=''
    fi
    [ -z "$running" ] || kill "$running" 2>/dev/null
    [ -z "$sampler" ] || kill "$sampler" 2>/dev/null
    save
    rm -rf "$work"
}

part() { # name, seconds at most, command...
    local name=$1 limit=$2 left=$((budget - grace - SECONDS)) start who status waited
    shift 2
    if [ -n "$parts" ] && [[ " $parts " != *" $name "* ]]; then
        return
    fi
    if [ -n "${DRY:-}" ]; then
        echo "$name $limit $*"
        return
    fi
    if [ "$left" -lt 5 ]; then
        ended+=("$name: no time left")
        failed+=("$name (no time left)")
        save
        return
    fi
    limit=$((limit < left ? limit : left))
    limit=$((limit < most ? limit : most))
    echo "== $name"
    now=$name start=$SECONDS
    (
        timeout -k "$grace" "$limit" "$@" >"$results/$name.txt" 2>&1 3>&- &
        trap 'kill $! 2>/dev/null' TERM
        wait $!
        echo "$name $?" >&3
    ) &
    running=$!
    until read -r -t "$every" -u 3 who status && [ "$who" = "$name" ]; do
        save
        kill -0 "$running" 2>/dev/null || { status=gone && break; }
        # Not even killed: it waits for a device that does not answer.
        [ $((SECONDS - start)) -le $((limit + 2 * grace)) ] || { status='not to be killed' && break; }
    done
    waited=$((SECONDS - start)) now='' running=''
    case $status in
        0) status=ok ;;
        124 | 137) [ "$waited" -lt "$limit" ] || status="over $limit s" ;;
    esac
    ended+=("$name: $status, $waited s")
    [ "$status" = ok ] || failed+=("$name ($status)")
    tail -n 3 "$results/$name.txt"
    echo "== $name took $waited s"
    save
}

if [ -z "${DRY:-}" ]; then
    machine+=("$(date -u +%FT%TZ) $(git rev-parse --short HEAD 2>/dev/null)"
        "$(timeout 10 nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>&1 | head -n 1)")
    trap finish EXIT
    trap 'exit 143' TERM INT HUP
    if [ -n "${WHEELS:-}" ]; then
        "$python" -m pip install -q --no-index --no-deps --target "$work/site" "$WHEELS"/*.whl 2>&1 |
            tee "$results/wheels.txt" || { echo "failed: wheels" && exit 1; }
        export PYTHONPATH=$work/site
    fi
    # What the clocks were, second by second.
    timeout "$budget" nvidia-smi --format=csv -l 1 \
        --query-gpu=timestamp,name,clocks.sm,clocks.mem,clocks.max.sm,power.draw,temperature.gpu \
        >"$results/clocks.csv" 2>&1 3>&- &
    sampler=$!
fi
export PYTHONUNBUFFERED=1
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
probe=("$python" bench/gpu/probe.py)
steps=("$python" bench/peers/steps.py)

# By worth. First whether it works at all: what nnx asks the library for, its own tests, what only CuPy itself can show.
part machine 5 nvidia-smi
part packages 10 "$python" -m pip freeze
part probes_products 35 "${probe[@]}" backend products
part cublaslt 50 env CUBLASLT_LOG_LEVEL=2 CUBLASLT_LOG_FILE="$results/cublaslt.log" \
    "$python" bench/gpu/cublaslt_check.py "$results/cublaslt.json"
part tests 100 "$python" -m pytest -q -m gpu -p no:cacheprovider --durations=5 tests/gpu
part probes_graphs 35 "${probe[@]}" uploads nodes leaks
# Then the figures that decide what is built next, each candidate in a process of its own: one that hangs is one lost.
part probes_host 10 "${probe[@]}" host
part kernels 30 "$python" bench/gpu/kernels.py "$results/kernels.json"
part steps_cupy 20 "${steps[@]}" cupy S,L,M,M16
part steps_torch_graph 25 "${steps[@]}" "PyTorch CUDA graph" S,L,M,M16
part steps_torch 20 "${steps[@]}" "PyTorch, GPU" S,L,M,M16
part steps_jax 30 "${steps[@]}" "JAX jit, GPU" S,L,M,M16
# memcheck, without the library's own probing of the driver, which it would take for errors.
part memcheck 60 "$sanitizer" --tool memcheck --report-api-errors no --error-exitcode 9 \
    "$python" bench/gpu/own_kernels.py
part crossover 35 "$python" -m nnx bench --steps --networks S --backends cupy,numba --rounds 1 \
    --json "$results/crossover.json"
part ops 20 "$python" -m nnx bench --ops --backends cupy --json "$results/ops.json"
# Slow, and last: races were looked for under an emulator already, and torch.compile takes long for a figure of others.
part racecheck 35 "$sanitizer" --tool racecheck --error-exitcode 9 "$python" bench/gpu/own_kernels.py
part steps_torch_compile 45 "${steps[@]}" "torch.compile, GPU" S,L,M,M16

[ -z "${DRY:-}" ] || exit 0
cat "$results/summary.txt"
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}"
    exit 1
fi
echo "all parts went well"
