# limited.sh COMMAND...
#
# Run a command under a watch that kills all processes of the step when they hold more memory than it may have (files in
# memory included), are too many, or run for too long. FLYTE_IMAGES_LIMITS says "BYTES PROCESSES SECONDS"; 0 bytes mean
# three quarters of the machine's memory. It comes as a secret, so that a limit is in no digest; the command does not see
# it. The names of variables are long, because to set one that the user has exported would change it for the command.
#
# On an engine that gives a step no process namespace of its own nothing is watched; memory and processes are counted
# where the step sees its own control group.
set -u
_flyte_images_limits=${FLYTE_IMAGES_LIMITS:-0 8192 7200}
unset FLYTE_IMAGES_LIMITS

_flyte_images_watch() {
    most=$1 many=$2 long=$3 own=0
    memory=/sys/fs/cgroup/memory.stat pids=/sys/fs/cgroup/pids.current members=/sys/fs/cgroup/cgroup.procs
    private=anon shared=shmem
    if [ -r /sys/fs/cgroup/memory/memory.stat ]; then
        memory=/sys/fs/cgroup/memory/memory.stat members=/sys/fs/cgroup/memory/cgroup.procs
        pids=/sys/fs/cgroup/pids/pids.current private=total_rss shared=total_shmem
    fi
    if [ -r "$members" ] && [ -r "$memory" ] && [ -r "$pids" ]; then
        while read -r one; do
            [ "$one" != 1 ] || own=1
        done <"$members"
    fi
    if [ "$most" = 0 ]; then
        while read -r name value _; do
            [ "$name" != MemTotal: ] || most=$((value * 768))
        done </proc/meminfo
    fi
    read -r start _ </proc/uptime
    while sleep 0.2; do
        read -r now _ </proc/uptime
        used=0 count=0 why=
        if [ "$own" = 1 ]; then
            while read -r name value; do
                case $name in "$private" | "$shared") used=$((used + value)) ;; esac
            done <"$memory"
            read -r count <"$pids"
        fi
        [ "$used" -le "$most" ] || why="it holds $used bytes of memory, more than $most"
        [ "$count" -le "$many" ] || why="it has $count processes, more than $many"
        [ $((${now%.*} - ${start%.*})) -le "$long" ] || why="it has run for more than $long s"
        [ -n "$why" ] || continue
        echo "flyte-images ends the step: $why" >&2
        kill -9 -1
    done
}
# shellcheck disable=SC2086
[ "$$" != 1 ] || _flyte_images_watch $_flyte_images_limits >/dev/null </dev/null &
exec "$@"
