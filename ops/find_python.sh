#!/usr/bin/env bash
# find_python.sh WISH VENV: makes VENV with a CPython 3.11 to 3.13; WISH (may be empty) is the interpreter to take.
# A candidate is run rather than looked up: a name on the PATH may be a shim with nothing behind it.
set -eu
wish=$1 venv=$2

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

found=
for candidate in ${wish:-python3 python3.13 python3.12 python3.11}; do
    case $(version "$candidate") in
        3.11 | 3.12 | 3.13) found=$candidate; break ;;
    esac
done

if [ -z "$found" ]; then
    if [ -n "$wish" ]; then
        have=$(version "$wish")
        echo "make: PYTHON=$wish is $([ -n "$have" ] && echo "Python $have" || echo "no Python that runs"); Taco needs 3.11, 3.12 or 3.13" >&2
    else
        echo "make: no Python 3.11, 3.12 or 3.13 found on the PATH; install one, or name it: make PYTHON=/path/to/python3.12 …" >&2
    fi
    exit 2
fi

if ! "$found" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "make: $found comes without venv; on Debian and Ubuntu: apt install python$(version "$found")-venv" >&2
    exit 2
fi

echo "Making $venv with $("$found" --version) …"
if ! "$found" -m venv "$venv"; then
    rm -rf "$venv"
    echo "make: $found could not make $venv here" >&2
    exit 2
fi
