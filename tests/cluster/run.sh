#!/bin/bash
# tests/cluster/run.sh [FOLDER]: "metperf slurm" and nipype's Slurm engines on a real Slurm.
#
# Six participants of the phantom as an array job, with a process of one killed and one task
# cancelled midway; then only these two again; the tables must equal those of an undisturbed run on
# this machine, byte for byte. Then one participant under nipype's SLURM and SLURMGraph engines.
# All of it goes to FOLDER (build/cluster), which the nodes must share; the nodes must be this
# machine, for the kill. The phantom and the undisturbed run are not made again if they are there.
#   OPTIONS="..."      what every run is told (a quick look at one session)
#   IMAGE=FILE.sif     run the tasks in this Apptainer image
# Without a Slurm it is skipped, exit status 77. Not part of scripts/test: it takes half an hour.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p "${1:-build/cluster}"
folder=$(cd "${1:-build/cluster}" && pwd)
read -ra options <<<"${OPTIONS---sloppy --no-motion-correction --session-label baseline}"
killed=02 cancelled=04 failures=0
out=$folder/out scripts=$folder/out/logs/slurm

step() { printf '\n== %s  (%s)\n' "$*" "$(date +%T)"; }
check() { # PROMISE COMMAND...
    local promise=$1; shift
    if "$@"; then echo "ok: $promise"; else echo "FAILED: $promise"; failures=$((failures + 1)); fi
}
same_tables() { # REFERENCE OTHER PATTERN...: every table of one is in the other, byte for byte
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
task_of() { # LABEL: the number of its task
    echo $(($(grep -nx "$1" "$scripts/participants.txt" | cut -d: -f1) - 1))
}
runs_of() { # LABEL: the process of its run on this machine
    pgrep -f "metperf .*participant --participant-label $1 " | head -n 1
}
wait_until_busy() { # LABEL: until its first image has been written
    until [ -n "$(find "$out/sub-$1" -name '*.nii.gz' -print -quit 2>/dev/null)" ]; do sleep 0.5; done
}
runs_made() { # LABEL: how many runs it has had
    find "$out/sub-$1/log" -mindepth 1 -maxdepth 1 -type d | wc -l
}
is() { [ "$1" = "$2" ] || { echo "   $1 instead of $2"; return 1; }; }

{ command -v sbatch && sinfo --noheader; } >/dev/null 2>&1 || { echo "skipped: no Slurm answers"; exit 77; }
sinfo
scripts/bootstrap
metperf=.venv/bin/metperf

step "The phantom, and the undisturbed run on this machine"
[ -d "$folder/bids" ] || $metperf phantom "$folder/bids" --participants 6 --seed 0
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
step "What became of them"
tail -qn 1 "$scripts"/log/participant_*.txt
check "four are marked as done" is "$(cd "$scripts/done" && echo sub-*)" "sub-01 sub-03 sub-05 sub-06"
check "the group level ran with what there is" test -s "$out/group.html"
check "no intermediate file is left on the node" \
    is "$(find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'metperf-sub-*' | wc -l)" 0

step "Only these two again"
"$scripts/submit.sh" --failed
check "while they run, nothing is sent twice" test "$("$scripts/submit.sh" --failed 2>&1 | grep -c 'still in the queue')" = 1
wait_for_jobs
check "all six are done" is "$(find "$scripts/done" -name 'sub-*' | wc -l)" 6
for label in 01 03 05 06; do check "sub-$label ran once" is "$(runs_made $label)" 1; done
for label in $killed $cancelled; do check "sub-$label ran twice" is "$(runs_made $label)" 2; done
check "tables equal those of the undisturbed run" \
    same_tables "$folder/host" "$out" -name '*_roistats.tsv' -o -name 'group_*.tsv'

one=(participant --participant-label 01 --skip-bids-validation "${options[@]}" --session-label baseline)
step "One session on this machine"
[ -e "$folder/one/sub-01.html" ] || $metperf "$folder/bids" "$folder/one" "${one[@]}"
for plugin in SLURM SLURMGraph; do
    step "The same under nipype's $plugin"
    printf 'plugin: %s\nplugin_args: {sbatch_args: "--mem=2500M"}\n' $plugin >"$folder/$plugin.yml"
    rm -rf "$folder/$plugin"
    begin=$SECONDS
    $metperf "$folder/bids" "$folder/$plugin" "${one[@]}" --use-plugin "$folder/$plugin.yml"
    echo "   $((SECONDS - begin)) s"
    check "tables equal those of this machine" same_tables "$folder/one" "$folder/$plugin" -name '*_roistats.tsv'
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
[ "$failures" = 0 ] || { echo "$failures promises are not kept"; exit 1; }
echo "all promises kept"
