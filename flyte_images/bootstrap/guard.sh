# guard.sh PROGRAM...: run a program; when standard input ends, end the program and all that it has started.
# mmdebstrap ignores signals, but cleans up when the programs that it runs are ended.
exec 3<&0 </dev/null
trap : TERM
"$@" 3<&- &
program=$!
{
    cat <&3
    kill -TERM 0
} >/dev/null 2>&1 &
watch=$!
while :; do
    wait "$program"
    status=$?
    kill -0 "$program" 2>/dev/null || break # otherwise the trap ended the wait
done
kill "$watch" 2>/dev/null
exit "$status"
