"""What answers requests as a configuration says: each one is a conversation of its own."""

from __future__ import annotations

import secrets

from trioproxy.config import Config
from trioproxy.conversation import Conversation
from trioproxy.dialects import DIALECTS
from trioproxy.http.client import Pool
from trioproxy.http.gate import Gate
from trioproxy.http.headers import Headers
from trioproxy.http.incoming import Incoming
from trioproxy.http.server import Listener
from trioproxy.items import Error, ErrorKind
from trioproxy.log import Record
from trioproxy.store.vault import Vault

__all__ = ["Proxy"]


class Proxy:
    """Answers requests as a configuration says. Give `handle` and `refusal` to an `http.Server`."""

    def __init__(self, config: Config, vault: Vault) -> None:
        self._vault = vault
        self._pool = Pool()
        self.use(config)

    def use(self, config: Config) -> None:
        """Answer what comes from now on as `config` says; what is under way ends as it began."""
        self._config = config
        self._gate = Gate(hosts=config.hosts, origins=config.origins)

    def close(self) -> None:
        """Close what is kept open to upstreams."""
        self._pool.close()

    async def handle(self, incoming: Incoming, listener: Listener) -> None:
        """Answer one request; never raises but for cancellation."""
        conversation = Conversation(self._config, self._pool, self._vault, incoming)
        with conversation.record:
            if listener.loopback and (reason := self._gate.refusal(incoming.headers, incoming.host)):
                await conversation.answering.fail(Error("permission", reason, 403))
            else:
                await conversation.hold()

    def refusal(self, status: int, message: str) -> tuple[Headers, bytes]:
        """The answer to a request that could not even be read."""
        kinds: dict[int, ErrorKind] = {413: "too_large", 408: "timeout"}
        with Record(secrets.token_hex(8)) as record:
            record.status, record.end = status, f"refused: {message}"
        error = Error(kinds.get(status, "invalid_request"), message, status)
        body = DIALECTS["anthropic"].write_error(error, record.id)
        return [(b"content-type", b"application/json"), (b"x-trioproxy-id", record.id.encode())], body
