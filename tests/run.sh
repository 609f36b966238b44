#!/usr/bin/env bash
# Everything the tests need, then the tests:  bash tests/run.sh [--soak] [--part NAME]... [-- PYTEST ARGUMENTS]
#
# Makes .venv-test (kept as long as pyproject.toml stays the same) and installs this checkout into it. As root on
# Debian it also installs Slurm, munge and Chromium where they are missing; elsewhere their tests are skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

environment=.venv-test

python=""
for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        # Not an active environment's link, which may be the very one that is made anew below.
        python=$("$candidate" -c 'import sys; print(sys._base_executable)')
        break
    fi
done
if [ -z "$python" ]; then
    echo "tests/run.sh needs Python 3.11 or newer" >&2
    exit 1
fi

started=$SECONDS
export PATH="$PATH:/usr/sbin:/sbin" # where daemons lie
missing=()
# Debian has the module venv without what it needs.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    missing+=("$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
fi
command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v sbatch >/dev/null || missing+=(slurm-wlm)
command -v munged >/dev/null || missing+=(munge)
command -v chromium >/dev/null || missing+=(chromium)
command -v chromedriver >/dev/null || missing+=(chromium-driver)
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then
        echo "installing ${missing[*]}"
        # RUNLEVEL=1: the packages' own services are not started; the tests start private ones.
        export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        echo "not root on Debian, so tests are skipped that need what is missing: ${missing[*]}"
    fi
fi
echo "system packages: $((SECONDS - started)) s"

started=$SECONDS
# What the environment depends on: this interpreter, our requirements, and where the checkout lies.
digest=$({ "$python" -VV; pwd; cat pyproject.toml tests/constraints.txt; } | sha256sum | cut -d' ' -f1)
if [ "$(cat "$environment/digest" 2>/dev/null)" != "$digest" ]; then
    rm -rf "$environment"
    "$python" -m venv "$environment"
    if command -v uv >/dev/null; then
        uv pip install --quiet --compile-bytecode --python "$environment/bin/python" --constraint tests/constraints.txt --editable '.[test]'
    else
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
            --constraint tests/constraints.txt --editable '.[test]'
    fi
    echo "$digest" >"$environment/digest"
fi
# Where Python keeps no bytecode, each of the processes that tests start would compile every module anew.
"$environment/bin/python" -m compileall -q daskpar || true
echo "environment: $environment, $((SECONDS - started)) s"

exec "$environment/bin/python" tests/parts.py "$@"
