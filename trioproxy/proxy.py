"""What answers requests as a configuration says: each one is a conversation of its own."""

from __future__ import annotations

import secrets

from trioproxy.config import Config
from trioproxy.conversation import Conversation
from trioproxy.dialects import DIALECTS
from trioproxy.errors import ProxyError
from trioproxy.http.gate import Gate
from trioproxy.http.headers import Headers
from trioproxy.http.incoming import Incoming, Malformed
from trioproxy.http.listen import Listener
from trioproxy.items import Error
from trioproxy.metrics import Metrics
from trioproxy.record import Record
from trioproxy.shared import Shared
from trioproxy.store.vault import Vault
from trioproxy.targets import Targets
from trioproxy.tracing import Tracer

__all__ = ["Proxy"]


class Proxy:
    """Answers requests as a configuration says. Give `handle` and `refusal` to an `http.Server`."""

    def __init__(
        self,
        config: Config,
        vault: Vault,
        *,
        targets: Targets | None = None,
        metrics: Metrics | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._shared = Shared(vault, targets or Targets(config), metrics, tracer)
        self.use(config)

    @property
    def metrics(self) -> Metrics:
        """What is counted."""
        return self._shared.metrics

    @property
    def targets(self) -> Targets:
        return self._shared.targets

    def use(self, config: Config) -> None:
        """Answer what comes from now on as `config` says; what is under way ends as it began."""
        self._config = config
        self._shared.use(config)
        self._gate = Gate(hosts=config.hosts, origins=config.origins)

    def close(self) -> None:
        """Close what is kept open to upstreams."""
        self._shared.close()

    async def handle(self, incoming: Incoming, listener: Listener) -> None:
        """Answer one request; never raises but for cancellation."""
        conversation = Conversation(self._config, self._shared, incoming)
        with conversation.record:
            if listener.loopback and (reason := self._gate.refusal(incoming.headers, incoming.host)):
                await conversation.answering.fail(ProxyError(Error("permission", reason, 403)))
            else:
                await conversation.hold()

    def refusal(self, exc: Malformed, peer: str) -> tuple[Headers, bytes]:
        """The answer to a request that could not even be read."""
        with Record(secrets.token_hex(8), asked=exc.asked, metrics=self._shared.metrics) as record:
            record.status, record.client_ip, record.end = exc.status, peer, f"refused: {exc}"
        body = DIALECTS["anthropic"].write_error(exc.error, record.id)
        return [(b"content-type", b"application/json"), (b"x-trioproxy-id", record.id.encode())], body
