#!/bin/sh
# Installs the real clients that these tests drive: install.sh DIR [CLIENT]... (the tests look into .installed here).
# CLIENT is claude-code, which is the one without any, codex, or open-webui. CLAUDE_CODE_VERSIONS, CODEX_VERSION and
# OPEN_WEBUI_VERSION name other versions, PYTHON another interpreter. The Python SDKs come with the development
# requirements instead.
set -eu

dir=${1:?usage: install.sh DIR [claude-code|codex|open-webui]...}
shift
mkdir -p "$dir"

# A package.json of its own keeps npm from installing into a parent folder's project, and says that the scripts that
# fetch the two binaries may run: newer npm versions want to be told.
add() {
    mkdir -p "$1"
    [ -e "$1/package.json" ] ||
        echo '{"private": true, "allowScripts": {"node": true, "@anthropic-ai/claude-code": true}}' > "$1/package.json"
    npm install --prefix "$1" --no-audit --no-fund "$2"
}

# For the clients that are plain JavaScript, or started by it.
private_node() {
    major=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/') || major=
    if [ "${major:-0}" -lt 22 ]; then
        add "$dir/node" node@22
    fi
}

claude_code() {
    private_node
    # The last one that two messages in one stream break, the last plain JavaScript one, and a native one.
    for version in ${CLAUDE_CODE_VERSIONS:-2.0.77 2.1.58 2.1.329}; do
        add "$dir/claude-code-$version" "@anthropic-ai/claude-code@$version"
    done
}

codex() {
    private_node
    version=${CODEX_VERSION:-0.169.0}
    add "$dir/codex-$version" "@openai/codex@$version"
}

# Without torch and the other packages for speech and embeddings of its own, of which pip then says that they are
# missing: the wheel brings the list of what Open WebUI needs when USE_SLIM_DOCKER is true. 0.8 GB instead of several.
open_webui() {
    "${PYTHON:-python3}" -m venv "$dir/open-webui"
    pip="$dir/open-webui/bin/pip"
    "$pip" install --no-deps "open-webui==${OPEN_WEBUI_VERSION:-0.12.4}"
    "$pip" install -r "$dir"/open-webui/lib/python3*/site-packages/requirements-slim.txt
}

[ $# -gt 0 ] || set -- claude-code
for client; do
    case $client in
        claude-code) claude_code ;;
        codex) codex ;;
        open-webui) open_webui ;;
        *)
            echo "unknown client: $client" >&2
            exit 2
            ;;
    esac
done
