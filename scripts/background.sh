# Servers that tests run beside them, ended with the script that started them. To be sourced, with $installed set; what they
# say goes to $runs.

runs=$installed/runs
rm -rf "$runs"
mkdir -p "$runs"

# Every background job is a process group of its own, so that an interrupted run leaves nothing behind.
set -m
jobs=""
stop() {
    local job
    for job in $jobs; do kill -- "-$job" 2>/dev/null || true; done
}
trap stop EXIT
trap 'exit 1' INT TERM

# starts NAME COMMAND…: runs a server in the background, and sets url to the address that it tells.
starts() {
    local log=$runs/$1.log
    shift
    touch "$log"
    "$@" </dev/null >>"$log" 2>&1 &
    jobs="$jobs $!"
    for _ in $(seq 100); do
        url=$(grep -oEm1 '127\.0\.0\.1:[1-9][0-9]*' "$log" || true)
        [ -z "$url" ] || { url=http://$url; return 0; }
        sleep 0.1
    done
    echo "error: $1 did not say within 10 s where it listens:" >&2
    cat "$log" >&2
    exit 1
}
