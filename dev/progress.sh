# How the scripts of this folder speak: one line per step, with its time. To be sourced.

# Where everything lies that is built or kept outside the repository.
WORKERPOOL_CACHE="${WORKERPOOL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/workerpool}"
export WORKERPOOL_CACHE

fail() {
    printf '%s: %s\n' "dev/${0##*/}" "$*" >&2
    exit 1
}

# timed WHAT LOG COMMAND...: runs a command that may take long, its output in LOG. It says how long it has taken every
# 15 s, and at the end; after a failure it shows the end of LOG. Not to be called where -e does not count (if, &&, ||).
timed() {
    local what=$1 log=$2 begin=$SECONDS ticker status
    shift 2
    mkdir -p "${log%/*}"
    printf '%s ...\n' "$what" >&2
    # Reading from a pipe on which nothing comes, and not sleep, which would outlive the ticker.
    (exec {nothing}<> <(:) && while ! read -rt 15 -u "$nothing"; do printf '  ... %d s\n' $((SECONDS - begin)) >&2; done) >/dev/null &
    ticker=$!
    # Not `|| status=$?`, which would switch -e off inside the command.
    set +e
    (set -e; "$@") >"$log" 2>&1 </dev/null
    status=$?
    set -e
    kill "$ticker" 2>/dev/null
    wait "$ticker" 2>/dev/null || true
    if [ "$status" -ne 0 ]; then
        printf '%s failed after %d s; the last lines of %s:\n' "$what" $((SECONDS - begin)) "$log" >&2
        tail -n 20 "$log" | sed 's/^/  /' >&2
        return "$status"
    fi
    printf '  done in %d s\n' $((SECONDS - begin)) >&2
}
