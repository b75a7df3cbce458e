#!/bin/bash
# tests/container/run.sh [FOLDER]: compare the image, as users run it, with a run on the host.
#
# Analyses a phantom on the host, in Docker (any uid, read-only, no network, no home, no capability) and
# in Apptainer (--cleanenv --containall), and compares all tables byte for byte. The output goes to
# FOLDER (build/container). Existing results and an existing image are not made again.
#   DOCKER=docker  APPTAINER=apptainer  IMAGE=metperf:VERSION  PARTICIPANTS=2  CONTAINER_UID=54321
#   OPTIONS="..."      options of every run, such as "--session-label baseline 1week"
# Without an engine its part is skipped, with the reason; without Docker the exit
# status is 77. Not part of scripts/test: it needs an engine and takes a quarter of an hour.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(cat version)
read -ra docker <<<"${DOCKER:-docker}"
read -ra apptainer <<<"${APPTAINER:-apptainer}"
read -ra options <<<"${OPTIONS-}"
image=${IMAGE:-metperf:$version} uid=${CONTAINER_UID:-54321}
mkdir -p "${1:-build/container}"
folder=$(cd "${1:-build/container}" && pwd)
failures=0

step() { printf '\n== %s\n' "$*"; }
check() { # REQUIREMENT COMMAND...
    local requirement=$1; shift
    if "$@"; then echo "ok: $requirement"; else echo "FAILED: $requirement"; failures=$((failures + 1)); fi
}
timed() { # COMMAND...: run it, set $seconds
    local begin; begin=$(date +%s.%N)
    "$@"
    seconds=$(awk -v a="$begin" -v b="$(date +%s.%N)" 'BEGIN { printf "%.2f", b - a }')
}
below() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }'; }
same_tables() { # REFERENCE OTHER: both have the same tables, byte for byte
    local tables; tables=$(cd "$1" && find . -name '*_roistats.tsv' -o -name 'group_*.tsv' | sort)
    [ -n "$tables" ] || return 1
    [ "$tables" = "$(cd "$2" && find . -name '*_roistats.tsv' -o -name 'group_*.tsv' | sort)" ] || return 1
    local table; for table in $tables; do cmp "$1/$table" "$2/$table" || return 1; done
    echo "   $(wc -l <<<"$tables") tables"
}
all_of() { # FOLDER UID: everything in the folder belongs to it
    [ -z "$(find "$1" -mindepth 1 ! -uid "$2" -print -quit)" ]
}
says() { # FOLDER TEXT: the description of the derivatives contains it
    tr -d '\n ' <"$1/dataset_description.json" | grep -qF "$2"
}
open_folder() { rm -rf "$1"; mkdir -p "$1"; chmod 777 "$1"; }

command -v "${docker[0]}" >/dev/null || { echo "skipped: ${docker[0]} is not installed"; exit 77; }
"${docker[@]}" version >/dev/null 2>&1 || { echo "skipped: no Docker engine is running"; exit 77; }

step "The image $image"
"${docker[@]}" image inspect "$image" >/dev/null 2>&1 ||
    timed "${docker[@]}" build --build-arg "VERSION=$version" --tag "$image" .
size=$("${docker[@]}" image inspect --format '{{.Size}}' "$image")
echo "   $((size / 1000000)) MB unpacked"
check "under 1.2 GB" below "$size" 1200000000
inside() { "${docker[@]}" run --rm --network none --entrypoint sh "$image" -c "$1"; }
check "no compiler, no test tool" inside '! command -v gcc cc make pytest && ! ls -d /opt/metperf/lib/*/site-packages/*/tests'
check "bill of materials included" inside 'test -s /opt/metperf/sbom.cdx.json'
check "code readable by every user" inside 'test -z "$(find /opt/metperf ! -perm -004 ! -type l)"'
check "metperf command works" inside 'metperf --version'
for _ in 1 2 3; do # the machine may be busy: median of three
    timed "${docker[@]}" run --rm --network none "$image" --version; v="${v-} $seconds"
    timed "${docker[@]}" run --rm --network none "$image" --help >/dev/null; h="${h-} $seconds"
done
echo "   --version:$v s; --help:$h s, including container start"
check "--version in under 1 s" below "$(tr ' ' '\n' <<<"$v" | sort -g | sed -n 2p)" 1
check "--help in under 2 s" below "$(tr ' ' '\n' <<<"$h" | sort -g | sed -n 2p)" 2

step "Phantom, and run on the host"
scripts/bootstrap
[ -d "$folder/bids" ] || .venv/bin/metperf phantom "$folder/bids" --n-participants "${PARTICIPANTS:-2}" --seed 0
if [ ! -e "$folder/host/group.html" ]; then
    timed .venv/bin/metperf "$folder/bids" "$folder/host" participant group --work-dir "$folder/work" "${options[@]}"
    echo "   $seconds s"
fi

step "Docker: uid $uid, read-only, no network, no home, no capability"
open_folder "$folder/docker"
strict=(run --rm --user "$uid:$uid" --read-only --tmpfs /tmp --cap-drop all
    --security-opt no-new-privileges --network none --env HOME
    --volume "$folder/bids:/data:ro" --volume "$folder/docker:/out")
for level in participant group; do
    timed env -u HOME "${docker[@]}" "${strict[@]}" "$image" /data /out "$level" "${options[@]}"
    echo "   $level: $seconds s"
done
check "tables equal those of the host" same_tables "$folder/host" "$folder/docker"
check "outputs belong to the caller" all_of "$folder/docker" "$uid"
check "the tag is recorded" says "$folder/docker" "\"Tag\":\"metperf:$version\",\"Type\":\"docker\""

step "Apptainer: --cleanenv --containall"
if "${apptainer[@]}" --version 2>/dev/null; then
    sif=$folder/$("${docker[@]}" image inspect --format '{{.Id}}' "$image" | cut -c8-19).sif
    if [ ! -s "$sif" ]; then
        "${docker[@]}" save --output "$folder/image.tar" "$image"
        chmod 644 "$folder/image.tar"; chmod 1777 "$folder"
        timed "${apptainer[@]}" --silent build "$sif" "docker-archive:$folder/image.tar"
        rm -f "$folder/image.tar"
        echo "   built in $seconds s, $(du -m "$sif" | cut -f1) MB"
    fi
    open_folder "$folder/apptainer"
    for level in participant group; do
        timed "${apptainer[@]}" run --cleanenv --containall --bind "$folder/bids:/data:ro" \
            --bind "$folder/apptainer:/out" "$sif" /data /out "$level" "${options[@]}"
        echo "   $level: $seconds s"
    done
    check "tables equal those of the host" same_tables "$folder/host" "$folder/apptainer"
    check "the tag is recorded" says "$folder/apptainer" "\"Tag\":\"metperf:$version\",\"Type\":\"apptainer\""
else
    echo "skipped: ${apptainer[*]} does not run"
fi

printf '\n'
[ "$failures" = 0 ] || { echo "$failures checks failed"; exit 1; }
echo "all checks passed"
