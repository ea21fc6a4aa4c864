# settled.sh EPOCH COMMAND...
#
# Run a command, then give all that it changed the time EPOCH: the same layer on any day. What it changed is found by
# ctime, which no program can set; the pause lets the kernel's clock tick, or files of the same tick would be missed.
set -u
epoch=$1
shift
mark=/dev/shm/.flyte-images-$$
: >"$mark"
sleep 0.02
"$@"
status=$?
if [ "$status" -eq 0 ]; then
    find / -xdev -cnewer "$mark" -newermt "@$epoch" ! -path /proc ! -path /sys ! -path '/flyte-images/*' \
        -exec touch -h -c -d "@$epoch" {} + 2>/dev/null
fi
rm -f "$mark"
exit "$status"
