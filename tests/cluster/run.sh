#!/bin/bash
# tests/cluster/run.sh [FOLDER]: test "metperf slurm" and nipype's Slurm engines on a real Slurm.
#
# Six participants of the phantom as an array job, with a process of one killed and one task
# cancelled midway; then only these two again; the tables must equal those of an undisturbed run on
# the host, byte for byte. Then one participant with nipype's SLURM and SLURMGraph engines.
# The output goes to FOLDER (build/cluster), which the nodes must share; the nodes must be on this
# machine, for the kill. An existing phantom and undisturbed run are not made again.
#   OPTIONS="..."      options of every run (default: a quick run of one session)
#   IMAGE=FILE.sif     run the tasks in this Apptainer image
# Without Slurm it is skipped with exit status 77. Not part of scripts/test: it takes half an hour.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p "${1:-build/cluster}"
folder=$(cd "${1:-build/cluster}" && pwd)
read -ra options <<<"${OPTIONS---sloppy --no-motion-correction --session-label baseline}"
killed=02 cancelled=04 failures=0
out=$folder/out scripts=$folder/out/logs/slurm

step() { printf '\n== %s  (%s)\n' "$*" "$(date +%T)"; }
check() { # REQUIREMENT COMMAND...
    local requirement=$1; shift
    if "$@"; then echo "ok: $requirement"; else echo "FAILED: $requirement"; failures=$((failures + 1)); fi
}
same_tables() { # REFERENCE OTHER PATTERN...: both have the same tables, byte for byte
    local a=$1 b=$2 tables; shift 2
    tables=$(cd "$a" && find . "$@" | sort)
    [ -n "$tables" ] || return 1
    [ "$tables" = "$(cd "$b" && find . "$@" | sort)" ] || return 1
    local table; for table in $tables; do cmp "$a/$table" "$b/$table" || return 1; done
    echo "   $(wc -l <<<"$tables") tables"
}
wait_for_jobs() { # until the jobs of the last submit.sh have left the queue
    while squeue --noheader --format=%A | grep -qFx -f "$scripts/jobs.txt"; do sleep 2; done
}
task_of() { # LABEL: number of its task
    echo $(($(grep -nx "$1" "$scripts/participants.txt" | cut -d: -f1) - 1))
}
runs_of() { # LABEL: process of its run
    pgrep -f "metperf .*participant --participant-label $1 " | head -n 1
}
wait_until_busy() { # LABEL: until its first image has been written
    until [ -n "$(find "$out/sub-$1" -name '*.nii.gz' -print -quit 2>/dev/null)" ]; do sleep 0.5; done
}
runs_made() { # LABEL: number of its runs
    find "$out/sub-$1/log" -mindepth 1 -maxdepth 1 -type d | wc -l
}
is() { [ "$1" = "$2" ] || { echo "   $1 instead of $2"; return 1; }; }

{ command -v sbatch && sinfo --noheader; } >/dev/null 2>&1 || { echo "skipped: no Slurm is running"; exit 77; }
sinfo
scripts/bootstrap
metperf=.venv/bin/metperf

step "Phantom, and undisturbed run on the host"
[ -d "$folder/bids" ] || $metperf phantom "$folder/bids" --n-participants 6 --seed 0
if [ ! -e "$folder/host/group.html" ]; then
    $metperf "$folder/bids" "$folder/host" participant group --work-dir "$folder/work" "${options[@]}"
fi

step "An array of six; a process of sub-$killed is killed, the task of sub-$cancelled cancelled"
rm -rf "$out"
$metperf slurm "$folder/bids" "$out" ${IMAGE:+--image "$IMAGE"} --nprocs 1 "${options[@]}"
"$scripts/submit.sh"
array=$(head -n 1 "$scripts/jobs.txt")
wait_until_busy $killed
pid=$(runs_of $killed)
kill -9 "$pid"
echo "   killed process $pid of sub-$killed"
wait_until_busy $cancelled
scancel "${array}_$(task_of $cancelled)"
echo "   cancelled ${array}_$(task_of $cancelled)"
wait_for_jobs
step "Outcome"
tail -qn 1 "$scripts"/log/participant_*.txt
check "four are done" is "$(cd "$scripts/done" && echo sub-*)" "sub-01 sub-03 sub-05 sub-06"
check "the group level ran with the available results" test -s "$out/group.html"
check "no intermediate file is left on the node" \
    is "$(find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'metperf-sub-*' | wc -l)" 0

step "Only these two again"
"$scripts/submit.sh" --failed
check "nothing is submitted twice while they run" test "$("$scripts/submit.sh" --failed 2>&1 | grep -c 'still in the queue')" = 1
wait_for_jobs
check "all six are done" is "$(find "$scripts/done" -name 'sub-*' | wc -l)" 6
for label in 01 03 05 06; do check "sub-$label ran once" is "$(runs_made $label)" 1; done
for label in $killed $cancelled; do check "sub-$label ran twice" is "$(runs_made $label)" 2; done
check "tables equal those of the undisturbed run" \
    same_tables "$folder/host" "$out" -name '*_roistats.tsv' -o -name 'group_*.tsv'

one=(participant --participant-label 01 --skip-bids-validation "${options[@]}" --session-label baseline)
step "One session on the host"
[ -e "$folder/one/sub-01.html" ] || $metperf "$folder/bids" "$folder/one" "${one[@]}"
for plugin in SLURM SLURMGraph; do
    step "The same with nipype's $plugin"
    printf 'plugin: %s\nplugin_args: {sbatch_args: "--mem=2500M"}\n' $plugin >"$folder/$plugin.yml"
    rm -rf "$folder/$plugin"
    begin=$SECONDS
    $metperf "$folder/bids" "$folder/$plugin" "${one[@]}" --use-plugin "$folder/$plugin.yml"
    echo "   $((SECONDS - begin)) s"
    check "tables equal those of the host" same_tables "$folder/one" "$folder/$plugin" -name '*_roistats.tsv'
done

step "A step of SLURM is cancelled"
rm -rf "$folder/cancelled"
$metperf "$folder/bids" "$folder/cancelled" "${one[@]}" --use-plugin "$folder/SLURM.yml" &
run=$!
until job=$(squeue --noheader --format='%A %j' | awk '/dwi/ { print $1; exit }') && [ -n "$job" ]; do sleep 0.3; done
scancel "$job"
code=0
wait $run || code=$?
check "the run ends with 75" is $code 75

printf '\n'
[ "$failures" = 0 ] || { echo "$failures checks failed"; exit 1; }
echo "all checks passed"
