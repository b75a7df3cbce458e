# The group level, which submit.sh starts after the participants.
set -uo pipefail
work_dir=$(mktemp -d "${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/metperf-group.XXXXXX") || exit 73
trap 'rm -rf "$work_dir"' EXIT
metperf group --work-dir "$work_dir"
