#!/usr/bin/env bash
# Measures what BENCHMARKS.md says and prints the table of bars.
#
#   scripts/bench.sh              every part: at most about 25 minutes without `predict`
#   scripts/bench.sh PART…        some of them: single two-stages interleaved transfer overlap
#                                 waiting rendezvous startup memory splits overlap-net
#                                 bytes compile pair-memory resident lab resting waking
#                                 predict
#
# Samples and records go to results/DATE/ (RESULTS overrides the folder). SAMPLES (default 9) are
# kept samples of each case, SECONDS_PER_CASE (default 20) the longest time for one, four times as
# long for cases of whole models. `overlap-net`, `lab` and `predict` need the edge lab
# (scripts/lab.sh: root, `ip`, `tc`), and are not measured without. `predict` takes an hour
# more, and drops the machine's page cache before each of its runs;
# PREDICT='resnet50 rows' picks cases by words of their names, RESULTS keeps what is there.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$HOME/.cargo/bin:$PATH"

cargo build --release --bins --example bench
bench=target/release/examples/bench
results=${RESULTS:-results/$(date -u +%Y-%m-%d)}
options=(--output "$results" --models models)
options+=(--samples "${SAMPLES:-9}" --seconds "${SECONDS_PER_CASE:-20}")

mkdir -p models
make_model() { # make_model FILE NAME FLAGS…: once; a file that is there is whole
    local file=models/$1.onnx name=$2
    shift 2
    [ -f "$file" ] || target/release/autodice model "$name" "$@" -o "$file"
}
make_model resnet50 resnet50
make_model mobilenet_v1 mobilenet_v1
make_model densenet121 densenet121
make_model vgg16 vgg16
make_model vgg11 vgg11
make_model alexnet alexnet
make_model resnet101 resnet101
make_model vgg16_external vgg16 --external

parts=("$@")
[ ${#parts[@]} -gt 0 ] || mapfile -t parts < <("$bench" parts)
failed=0
for part in "${parts[@]}"; do
    echo "== $part"
    "$bench" "$part" "${options[@]}" || failed=1
done
echo
"$bench" table --output "$results" | tee "$results/bars.md"
exit $failed
