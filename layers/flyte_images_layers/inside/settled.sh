# settled.sh EPOCH COMMAND...
#
# Run a command, then give all that it changed the time EPOCH: the same layer on any day. What it changed is found by
# ctime, which no program can set; the pause lets the kernel's clock tick, or files of the same tick would be missed.
# The names of variables here are long, because to set one that the user has exported would change it for the command.
set -u
_flyte_images_epoch=$1
shift
_flyte_images_mark=/dev/shm/.flyte-images-$$
: >"$_flyte_images_mark"
sleep 0.02
"$@"
_flyte_images_status=$?
if [ "$_flyte_images_status" -eq 0 ]; then
    find / -xdev -cnewer "$_flyte_images_mark" -newermt "@$_flyte_images_epoch" ! -path /proc ! -path /sys \
        ! -path '/flyte-images/*' -exec touch -h -c -d "@$_flyte_images_epoch" {} + 2>/dev/null
fi
rm -f "$_flyte_images_mark"
exit "$_flyte_images_status"
