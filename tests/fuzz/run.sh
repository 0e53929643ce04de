#!/usr/bin/env bash
# Builds the fuzz targets and runs each for SECONDS (default 600), two at a time; seeds are the tables of tests/data.
#
#   tests/fuzz/run.sh [SECONDS [TARGET…]]
#
# What has been learnt stays in target/fuzz/corpus; an input that breaks a promise is kept in target/fuzz/artifacts and
# fails the run. The report has executions and the edges that were reached (libFuzzer's `cov`). With FUZZ_SEED libFuzzer
# draws the same numbers each time, so that what a short run finds is due to a change.
set -euo pipefail
cd "$(dirname "$0")/../.."

output=$PWD/target/fuzz
binaries=$output/$(rustc --print host-tuple)/release

main() {
  local seconds=${1:-600}
  shift || true
  tests/install.sh tools
  # No sanitizer: this crate has no unsafe code, and what is asserted is more than memory.
  target/tools/bin/cargo-fuzz build --fuzz-dir tests/fuzz --target-dir "$output" --sanitizer none --codegen-units 16
  local targets=("$@")
  [ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(target/tools/bin/cargo-fuzz list --fuzz-dir tests/fuzz)
  local target
  for target in "${targets[@]}"; do seed "$target"; done
  printf '%s\n' "${targets[@]}" | xargs -P 2 -I{} "$0" --one "$seconds" {}
  report "${targets[@]}"
}

# Each line of a table, or each file, is one seed.
seed() {
  local target=$1 seeds=$output/seeds/$1 data=tests/data
  rm -rf "$seeds"
  mkdir -p "$seeds" "$output/corpus/$target" "$output/artifacts/$target"
  case $target in
    query) lines "$seeds" "$data/login_queries.txt" "$data/queries_with_a_token.txt" ;;
    next) lines "$seeds" "$data/next.txt" "$data/targets.txt" ;;
    target) lines "$seeds" "$data/targets.txt" ;;
    headers) lines "$seeds" "$data/identity_headers.txt" "$data/forwarding_headers.txt" "$data/header_lines_refused.txt" ;;
    framing) escaped "$seeds" "$data/framing_refused.txt" "$data/chunks_refused.txt" ;;
    config) cp "$data"/config/bad/*.toml config/*.toml "$seeds" ;;
  esac
  [ ! -d "tests/fuzz/seeds/$target" ] || cp "tests/fuzz/seeds/$target"/* "$seeds"
}

# The last column of each line, because what stands before it is a verdict.
lines() {
  local seeds=$1
  shift
  sed -e '/^#/d;/^$/d' -e 's/^\(good\|bad\|pass\|400\) *\(good \|bad \)\? *//' -e 's/^[a-z0-9]*  ->  //;s/ \+-> .*//' "$@" \
    | sort -u | split -l 1 -a 4 - "$seeds/line-"
}

# Requests with their bytes written out, and a first byte, which says how they are cut.
escaped() {
  local seeds=$1 line number=0
  shift
  while IFS= read -r line; do
    number=$((number + 1))
    printf '\007%b' "$line" >"$seeds/line-$number"
  done < <(sed '/^#/d;/^$/d' "$@")
}

one() {
  local seconds=$1 target=$2
  # A dictionary, so that the words that matter need not be guessed.
  local words=tests/fuzz/words/$target.txt
  "$binaries/$target" "$output/corpus/$target" "$output/seeds/$target" \
    -artifact_prefix="$output/artifacts/$target/" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -max_len=4096 ${FUZZ_SEED:+-seed=$FUZZ_SEED} ${words:+$([ -f "$words" ] && echo "-dict=$words")} \
    >"$output/$target.log" 2>&1 || { tail -n 60 "$output/$target.log"; exit 1; }
}

report() {
  local target
  printf '%-10s %12s %8s %8s\n' target executions edges corpus
  for target in "$@"; do
    printf '%-10s %12s %8s %8s\n' "$target" \
      "$(sed -n 's/^stat::number_of_executed_units: *//p' "$output/$target.log")" \
      "$(grep -o 'cov: [0-9]*' "$output/$target.log" | tail -1 | cut -d' ' -f2)" \
      "$(find "$output/corpus/$target" -type f | wc -l)"
  done
}

if [ "${1:-}" = --one ]; then
  one "$2" "$3"
else
  main "$@"
fi
