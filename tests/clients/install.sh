#!/bin/sh
# Installs the real clients that these tests drive: install.sh DIR (the tests look at tests/clients/.installed).
# CLAUDE_CODE_VERSIONS names other versions. The Python SDK comes with the development requirements instead.
set -eu

dir=${1:?usage: install.sh DIR}
# The last one that two messages in one stream break, the last plain JavaScript one, and a native one.
versions=${CLAUDE_CODE_VERSIONS:-2.0.77 2.1.58 2.1.329}
mkdir -p "$dir"

# A package.json of its own keeps npm from installing into a parent folder's project, and says that the scripts that
# fetch the two binaries may run: newer npm versions want to be told.
add() {
    mkdir -p "$1"
    [ -e "$1/package.json" ] ||
        echo '{"private": true, "allowScripts": {"node": true, "@anthropic-ai/claude-code": true}}' > "$1/package.json"
    npm install --prefix "$1" --no-audit --no-fund "$2"
}

major=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/') || major=
if [ "${major:-0}" -lt 22 ]; then
    add "$dir/node" node@22
fi
for version in $versions; do
    add "$dir/claude-code-$version" "@anthropic-ai/claude-code@$version"
done
