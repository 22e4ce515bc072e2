"""Tests that drive real clients through a real trioproxy process.

Install the clients with `tests/clients/install.sh tests/clients/.installed`, or name `claude` executables in
TRIOPROXY_CLAUDE_CODE (separated like PATH), `codex` ones in TRIOPROXY_CODEX, and a node >= 22 in TRIOPROXY_NODE. What
is not there is skipped.
"""
