# submit.sh [--failed] [--no-group]
#   --failed     only participants that have not completed without failure
#   --no-group   without the group job
# Prints the job numbers. The output of the jobs is in log/; done/ contains a file for each
# participant that completed without failure.
set -euo pipefail
only_failed= group=1
for word in "$@"; do
    case $word in
    --failed) only_failed=1 ;;
    --no-group) group= ;;
    *) echo "submit.sh [--failed] [--no-group]" >&2; exit 2 ;;
    esac
done
mkdir -p "$folder/done" "$folder/log" "$folder/tasks"

# Jobs of an earlier call must have ended, because two tasks of one participant would write the same files.
if [ -s "$folder/jobs.txt" ]; then
    queue=$(squeue --noheader --array --format=%i --user "$(id -u)")
    running=$(sed 's/_.*//' <<<"$queue" | grep -Fxc -f "$folder/jobs.txt" || true)
    if [ "$running" != 0 ]; then
        echo "submit.sh: $running tasks of an earlier call are still in the queue (squeue --me);" \
            "wait for them or scancel them: $(paste -sd ' ' "$folder/jobs.txt")" >&2
        exit 75
    fi
fi

stamp=$(date +%Y%m%d-%H%M%S)
todo=$folder/tasks/$stamp.txt
while read -r label; do
    if [ -z "$only_failed" ]; then rm -f "$folder/done/sub-$label"; fi
    if [ ! -e "$folder/done/sub-$label" ]; then echo "$label"; fi
done <"$folder/participants.txt" >"$todo"
count=$(wc -l <"$todo")
echo "$count of $(wc -l <"$folder/participants.txt") participants"
: >"$folder/jobs.txt"

# Clusters limit the size of an array (MaxArraySize, 1001 by default); further tasks go into further arrays.
largest=$(scontrol show config | awk '$1 == "MaxArraySize" { print $3 }')
if [ "$count" != 0 ]; then
    split --lines="$((${largest:-1001} - 1))" --additional-suffix=.txt "$todo" "$folder/tasks/$stamp-"
    for part in "$folder/tasks/$stamp"-*.txt; do
        last=$(($(wc -l <"$part") - 1))
        job=$(sbatch --parsable --array="0-$last$at_once" "$folder/participant.sbatch" "$part")
        echo "${job%%;*}" >>"$folder/jobs.txt"
        echo "participants: job ${job%%;*} ($((last + 1)) tasks)"
    done
fi
if [ -n "$group" ]; then
    after=$(paste -sd : "$folder/jobs.txt")
    job=$(sbatch --parsable ${after:+"--dependency=$dependency:$after"} --kill-on-invalid-dep=yes \
        "$folder/group.sbatch")
    echo "${job%%;*}" >>"$folder/jobs.txt"
    echo "group: job ${job%%;*}"
fi
