#!/bin/sh
# Make the virtual environment FOLDER (default .venv) of a checkout: the package, editable, and its development tools.
#
#   venv.sh [FOLDER]      PYTHON=python3.12 chooses the interpreter
#
# Debian's python3 comes without ensurepip: root gets it by apt. Where packages come from is this machine's own pip
# configuration.
set -eu

folder=${1:-.venv}
. "$(dirname "$0")/apt.sh"

say() { printf 'venv: %s\n' "$*" >&2; }
die() { say "$1"; [ $# -lt 2 ] || printf '\nhint: %s\n' "$2" >&2; exit 1; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

interpreter() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if new_enough "$candidate"; then echo "$candidate"; return; fi
    done
    die "no Python 3.11 or newer: tried ${PYTHON:-python3, python3.13, python3.12, python3.11}" \
        "install one, or name it: make venv PYTHON=/path/to/python3.12"
}

# What `python -m venv` needs beyond the interpreter.
add_ensurepip() {
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    may_apt || die "$1 cannot make virtual environments: it has no ensurepip" "as root: apt-get install python$version-venv"
    say "installing python$version-venv"
    apt_get update
    apt_get install "python$version-venv"
    "$1" -c 'import ensurepip, venv' || die "$1 has no ensurepip, and python$version-venv does not bring it" \
        "use another interpreter: make venv PYTHON=..."
}

if ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(interpreter)
    "$python" -c 'import ensurepip, venv' 2>/dev/null || add_ensurepip "$python"
    say "making $folder with $("$python" --version)"
    "$python" -m venv --clear "$folder"
fi
say "installing the package and its development tools"
"$folder/bin/python" -m pip --disable-pip-version-check install -qq --editable '.[dev]'
# As an installed package has it: where PYTHONDONTWRITEBYTECODE is set, every start would compile everything anew.
"$folder/bin/python" -m compileall -q flyte_images layers runtime
