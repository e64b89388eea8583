#!/bin/sh
# Makes the virtual environment and keeps it in step with a requirements file: dev/setup.sh requirements.txt
# Does nothing when the file hasn't changed since the last time.
set -eu
cd "$(dirname "$0")/.."
requirements=$1
venv=.venv
stamp=$venv/.installed-$(basename "$requirements" .txt)
python=${PYTHON:-python3}

say() { echo "setup: $*" >&2; }

# What the whole installation depends on, so that a change of any of it installs again.
wanted=$({ cat requirements*.txt; echo "$python"; } | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    say "Python 3.11 or newer is needed; '$python' is older or missing. Name another: make PYTHON=python3.13 run"
    exit 1
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing python3-venv (apt-get)"
        apt-get update -qq && apt-get install -y -qq python3-venv
    else
        say "Python's venv module is missing. On Debian and Ubuntu: sudo apt-get install python3-venv"
        exit 1
    fi
fi
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || { say "making the virtual environment in $venv"; "$python" -m venv --clear "$venv"; }
say "installing $requirements"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
echo "$wanted" > "$stamp"
