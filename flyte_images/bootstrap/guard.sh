# Run a program; when standard input ends, end it and all that it has started: guard.sh PROGRAM...
# mmdebstrap itself ignores signals, but takes down what it has put up when the programs that it runs are ended.
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
    kill -0 "$program" 2>/dev/null || break # else it was the trap that ended the waiting
done
kill "$watch" 2>/dev/null
exit "$status"
