#!/bin/sh
# Runs the tests of the package that ours replaces - the folder sudospawner/tests of sudospawner
# 1.0.0 on PyPI, unchanged - against our module and our binary.
#
#     upstream_compatibility.sh VENV TESTS ACCOUNT
#
# VENV     a virtualenv with our wheel, pytest, pytest-tornado and requests; it is only read
# TESTS    upstream's folder of tests
# ACCOUNT  an ordinary account with a home, since the mediator refuses root
#
# Run it as root. The tests put a script beside the binary and import themselves as a part of our
# module, so both are copied into a virtualenv of ACCOUNT's, which is removed at the end.
set -eu

[ $# -eq 3 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
venv=$(realpath "$1") tests=$(realpath "$2") account=$3
home=$(getent passwd "$account" | cut -d: -f6)
packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
own=$(mktemp -d "${TMPDIR:-/tmp}/upstream-compatibility.XXXXXX")
trap 'rm -rf "$own"' EXIT
trap 'exit 130' INT TERM

echo "Making a virtualenv in $own, on top of $venv"
"$venv/bin/python" -m venv --without-pip "$own"
own_packages=$(echo "$own"/lib/python3*/site-packages)
echo "$packages" > "$own_packages/below.pth"
cp "$venv/bin/sudospawner" "$own/bin/"
cp -r "$packages/sudospawner" "$own_packages/"
cp -r "$tests" "$own_packages/sudospawner/tests"
chown -R "$account" "$own"
chmod 755 "$own"

echo "Running the tests as $account"
cd "$home"
# Without a limit of their own these tests may take 5 seconds, which a busy computer exceeds.
setpriv --reuid="$account" --regid="$(id -g "$account")" --init-groups \
    env -i HOME="$home" USER="$account" PATH="$own/bin:/usr/bin:/bin" LANG=C.UTF-8 \
    ASYNC_TEST_TIMEOUT=120 \
    "$own/bin/python" -B -m pytest -v -p no:cacheprovider "$own_packages/sudospawner/tests"
