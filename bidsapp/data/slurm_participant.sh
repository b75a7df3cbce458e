# One participant per task; task N processes line N+1 of the file TASKS:
#   sbatch --array=0-9 participant.sbatch TASKS
# submit.sh does this; TASKS defaults to participants.txt.
set -uo pipefail
tasks=${1:-$folder/participants.txt}
label=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" "$tasks")
[ -n "$label" ] || { echo "$tasks has no line $((SLURM_ARRAY_TASK_ID + 1))" >&2; exit 64; }
rm -f "$folder/done/sub-$label"

# Intermediate files are on the local disk of the node, or in the folder given by --work-dir.
if [ -z "$work_dir" ]; then
    work_dir=$(mktemp -d "${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/metperf-sub-$label.XXXXXX") || exit 73
    trap 'rm -rf "$work_dir"' EXIT
fi

echo "sub-$label on $(hostname), job ${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID, $(date -Is)"
metperf participant --participant-label "$label" --skip-bids-validation \
    --work-dir "$work_dir" --nprocs "$nprocs" --mem "${memory_mb}M"
code=$?
if [ $code = 0 ]; then : >"$folder/done/sub-$label"; fi
echo "sub-$label: exit $code, $(date -Is)"
exit $code
