"""OpenAI Chat Completions: `POST /v1/chat/completions`, as OpenAI and everyone who is compatible with it speak it.

Source: platform.openai.com/docs/api-reference/chat; what real providers send beyond it is in the tests' recordings.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from trioproxy.dialects.fold import FoldWriter
from trioproxy.dialects.models import Model
from trioproxy.dialects.openai.errors import write_error
from trioproxy.dialects.openai.models import read_models, write_model, write_models
from trioproxy.dialects.openai.write_options import cache_key
from trioproxy.dialects.openai_chat.read_request import read_request
from trioproxy.dialects.openai_chat.reader import Reader
from trioproxy.dialects.openai_chat.respell import Respeller
from trioproxy.dialects.openai_chat.rewrite import fit, rewrite
from trioproxy.dialects.openai_chat.write_request import write_request
from trioproxy.dialects.openai_chat.writer import Fold, StreamWriter
from trioproxy.dialects.peek import Peek, fields_of, peeked
from trioproxy.dialects.style import Style
from trioproxy.dialects.target import Target, Written
from trioproxy.items import Error, Event, Frame, Request
from trioproxy.ledger import Ledger
from trioproxy.stage import Exchange, Stage

__all__ = ["OpenAIChat"]

_NULL = msgspec.Raw(b"null")


class _Peek(msgspec.Struct):
    """What is no Boolean says nothing: `read_request` and upstreams say what is wrong with it."""

    model: str = ""
    stream: Any = None
    stream_options: Any = None
    prompt_cache_key: msgspec.Raw = _NULL
    metadata: msgspec.Raw = msgspec.Raw()
    messages: msgspec.Raw = _NULL
    input: msgspec.Raw = _NULL


_PEEK = msgspec.json.Decoder(_Peek)


class OpenAIChat:
    """See `Dialect` for what each method takes and gives."""

    name = "openai-chat"
    paths = ("/v1/chat/completions", "/chat/completions")
    beside = ("/v1/chat/", "/v1/completions", "/v1/embeddings", "/v1/audio/", "/v1/images/")

    counts_first = False
    # Every client knows an error in a stream, as gateways send them; and Open WebUI loses all it has shown if the
    # connection breaks (tests/clients).
    breaks_off = False

    def peek(self, body: bytes, /) -> Peek | None:
        if (wire := peeked(body, _PEEK)) is None:
            return None
        options = wire.stream_options
        wanted = isinstance(options, dict) and options.get("include_usage") is True
        own_key = wire.prompt_cache_key != _NULL
        # Cursor's agent mode asks here in the words of Responses, and wants chunks in answer (hazard H150h).
        other = "openai-responses" if wire.messages == _NULL and wire.input != _NULL else ""
        return Peek(wire.model, wire.stream is True, wanted, own_key, fields_of(wire.metadata), other)

    def read_request(self, body: bytes, /) -> Request:
        return read_request(body)

    def amend(self, peek: Peek, target: Target, /) -> Mapping[str, Any]:
        key = "" if peek.cache_key else cache_key(target)
        return {"prompt_cache_key": key} if key else {}

    def fit(self, request: Request, target: Target, ledger: Ledger, /) -> Request:
        return fit(request, target, ledger)

    def write_request(self, request: Request, target: Target, ledger: Ledger, /) -> Written:
        source = request.source
        if source is None or source.dialect != self.name:
            return write_request(request, target, ledger)
        return rewrite(request, source, target)

    def reader(self, exchange: Exchange, /) -> Stage[Frame, Event]:
        return Reader(exchange)

    def writer(self, exchange: Exchange, style: Style, /) -> Stage[Event, Frame | Error]:
        same = exchange.upstream_dialect == self.name and not exchange.answered_here and not _in_other_words(exchange)
        if exchange.stream:
            return StreamWriter(exchange, style, same=same)
        shown = exchange.model if exchange.model != exchange.upstream_model else ""
        restyle = Respeller(style.reasoning, exchange.ledger).body if same and style.reasoning else None
        fold = Fold(exchange, style, same=same)
        return FoldWriter(fold, same=same, limit=exchange.event_limit, model=shown, restyle=restyle)

    def credentials(self, token: str, target: Target, /) -> list[tuple[bytes, bytes]]:
        return [(b"authorization", b"Bearer " + token.encode("ascii"))]

    def asks(self, target: Target, /) -> list[tuple[bytes, bytes]]:
        return []

    def write_error(self, error: Error, request_id: str, /) -> bytes:
        return write_error(error, request_id)

    def write_error_event(self, error: Error, request_id: str, /) -> bytes:
        return b"data: " + write_error(error, request_id) + b"\n\n"

    def read_models(self, body: bytes, /) -> list[Model]:
        return read_models(body)

    def write_model(self, model: Model, /) -> bytes:
        return write_model(model)

    def write_models(self, models: Iterable[Model], /) -> bytes:
        return write_models(models)


def _in_other_words(exchange: Exchange) -> bool:
    """Whether the client asked in the words of another dialect, for which an answer must be written anew (H150h)."""
    source = exchange.request.source if exchange.request else None
    return source is not None and source.dialect != OpenAIChat.name
