"""Spans for OpenTelemetry, sent as OTLP over HTTP. An extra, imported only where the file has `[tracing]`.

The names are those of OpenTelemetry's semantic conventions for HTTP servers and for generative AI (1.41, where the
latter are in development). No context variables, no global provider: several proxies in a process do not meet.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import requests
import trio
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace import Tracer as OtelTracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from trioproxy import __version__, tracing
from trioproxy.http.headers import Headers, get

if TYPE_CHECKING:
    from trioproxy.config import Tracing, Upstream

__all__ = ["open_exporting"]

log = logging.getLogger("trioproxy.tracing")

_QUEUE = 2048  # spans that wait to be sent; more are dropped
_BATCH, _EVERY = 512, 5000  # spans; milliseconds
_TIMEOUT = 10.0  # seconds for a batch, its retries included
_LAST_WORDS = 2.0  # seconds for what is left when the proxy stops
_TEXT = 300  # characters of a value
# Who answers, by the end of its host's name: the conventions' words for those they know. Else it is the dialect's own.
_PROVIDERS = {
    "amazonaws.com": "aws.bedrock",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "openai.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "deepseek.com": "deepseek",
    "groq.com": "groq",
    "mistral.ai": "mistral_ai",
    "perplexity.ai": "perplexity",
    "x.ai": "x_ai",
    "cohere.com": "cohere",
}
_VENDORS = {"anthropic": "anthropic", "openai-chat": "openai", "openai-responses": "openai"}


@asynccontextmanager
async def open_exporting(settings: Tracing) -> AsyncIterator[tracing.Tracer]:
    """Spans are sent from a thread of their own; at the end what is left is, for a bounded time."""
    exporter = OTLPSpanExporter(
        endpoint=settings.endpoint, headers=dict(settings.headers), timeout=_TIMEOUT, session=_session()
    )
    processor = BatchSpanProcessor(
        exporter,
        max_queue_size=_QUEUE,
        max_export_batch_size=_BATCH,
        schedule_delay_millis=_EVERY,
        export_timeout_millis=_TIMEOUT * 1000,
    )
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.sample)),
        resource=Resource.create({"service.name": settings.service_name, "service.version": __version__}),
        span_limits=SpanLimits(max_attributes=64, max_attribute_length=_TEXT),
        shutdown_on_exit=False,  # it would wait for half a minute
    )
    provider.add_span_processor(processor)
    try:
        yield _Tracer(provider.get_tracer("trioproxy", __version__))
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(_LAST_WORDS) as scope:
            await trio.to_thread.run_sync(processor.shutdown, abandon_on_cancel=True)
        if scope.cancelled_caught:
            log.warning("the last spans could not be sent to %s within %g s", settings.endpoint, _LAST_WORDS)
            exporter.shutdown()  # type: ignore[no-untyped-call]  # ends the pause before another try


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no proxy of the environment, and no password of a .netrc
    return session


class _Tracer(tracing.Tracer):
    def __init__(self, tracer: OtelTracer) -> None:
        self._tracer = tracer

    def begin(self, method: str, headers: Headers) -> tracing.Span:
        told = {name: get(headers, name.encode()).decode("latin-1") for name in ("traceparent", "tracestate")}
        client = _CONTEXT.extract(told)
        span = self._tracer.start_span(method, client, SpanKind.SERVER, {"http.request.method": method})
        return _Span(self._tracer, span)


class _Span(tracing.Span):
    def __init__(self, tracer: OtelTracer, span: OtelSpan) -> None:
        self._tracer, self._span = tracer, span
        self._attempts: list[_AttemptSpan] = []

    def attempt(self, upstream: Upstream, model: str) -> tracing.AttemptSpan:
        attributes: dict[str, AttributeValue] = {"trioproxy.upstream": upstream.name}
        if upstream.origin is not None:
            attributes |= {"server.address": upstream.origin.host, "server.port": upstream.origin.port}
        if model:
            host = upstream.origin.host if upstream.origin is not None else ""
            known = (name for end, name in _PROVIDERS.items() if host == end or host.endswith(f".{end}"))
            provider = next(known, _VENDORS[upstream.dialect])
            attributes |= {"gen_ai.operation.name": "chat", "gen_ai.provider.name": provider}
            attributes["gen_ai.request.model"] = model
        name, parent = f"chat {model}" if model else upstream.name, set_span_in_context(self._span)
        attempt = _AttemptSpan(self._tracer.start_span(name, parent, SpanKind.CLIENT, attributes))
        self._attempts.append(attempt)
        return attempt

    def finish(self, outcome: tracing.Outcome) -> None:
        for attempt in self._attempts:
            attempt.finish(outcome if attempt is self._attempts[-1] else None)
        span = self._span
        if span.is_recording():
            if outcome.route:
                span.set_attribute("http.route", outcome.route)
                span.update_name(f"{outcome.method} {outcome.route}")
            span.set_attributes(_known(_SERVED, outcome))
            if outcome.end_kind == "failed":
                span.set_attribute("error.type", outcome.failing or str(outcome.status or "broken off"))
                # A client's own mistake is no error of this server (conventions for HTTP spans).
                span.set_status(Status(StatusCode.ERROR) if outcome.status >= 500 or outcome.status == 200 else _UNSET)
        span.end()


class _AttemptSpan(tracing.AttemptSpan):
    def __init__(self, span: OtelSpan) -> None:
        self._span = span
        self._status = 0
        self._ended: int | None = None
        context = span.get_span_context()
        parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        self.traceparent = parent.encode()

    def answered(self, status: int) -> None:
        self._status = status

    def end(self) -> None:
        # It ends here, but what the whole exchange has come to is told with the last attempt.
        self._ended = time.time_ns()

    def finish(self, outcome: tracing.Outcome | None) -> None:
        """End the span. `outcome` is that of the exchange, if this was its last attempt."""
        span = self._span
        if span.is_recording():
            if self._status:
                span.set_attribute("http.response.status_code", self._status)
            if outcome is not None:
                span.set_attributes(_known(_ANSWERED, outcome))
            if error := self._error(outcome):
                span.set_attribute("error.type", error)
                span.set_status(Status(StatusCode.ERROR))
        span.end(self._ended)

    def _error(self, outcome: tracing.Outcome | None) -> str:
        """What kind of error it came to; empty if to none."""
        if self._status >= 400:
            return str(self._status)
        if outcome is None:
            return "no answer"  # else there would have been no other attempt
        return outcome.failing or ("" if self._status or outcome.end_kind != "failed" else "no answer")


# What is told of an outcome: the conventions' words, and where it is found.
_SERVED: dict[str, Callable[[tracing.Outcome], AttributeValue | None]] = {
    "http.response.status_code": lambda outcome: outcome.status,
    "url.path": lambda outcome: outcome.path,
    "client.address": lambda outcome: outcome.client_ip,
    "gen_ai.conversation.id": lambda outcome: outcome.session,
    "trioproxy.id": lambda outcome: outcome.id,
    "trioproxy.client": lambda outcome: outcome.client,
    "trioproxy.end": lambda outcome: outcome.end_kind,
}
_ANSWERED: dict[str, Callable[[tracing.Outcome], AttributeValue | None]] = {
    "gen_ai.response.model": lambda outcome: outcome.words.get("answered"),
    "gen_ai.response.finish_reasons": lambda outcome: [outcome.words["stop"]] if "stop" in outcome.words else None,
    "gen_ai.response.time_to_first_chunk": lambda outcome: outcome.first_byte_after,
    "gen_ai.usage.input_tokens": lambda outcome: outcome.counts.get("tokens_in"),
    "gen_ai.usage.output_tokens": lambda outcome: outcome.counts.get("tokens_out"),
    "gen_ai.usage.cache_read.input_tokens": lambda outcome: outcome.counts.get("tokens_cached"),
    "gen_ai.conversation.id": lambda outcome: outcome.session,
}


def _known(
    told: Mapping[str, Callable[[tracing.Outcome], AttributeValue | None]], outcome: tracing.Outcome
) -> dict[str, AttributeValue]:
    return {name: value for name, read in told.items() if (value := read(outcome))}


_CONTEXT = TraceContextTextMapPropagator()
_UNSET = Status(StatusCode.UNSET)
