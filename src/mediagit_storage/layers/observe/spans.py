"""OpenTelemetry spans: one for each operation, its HTTP requests below it, retries as events (extra ``trace``).

Names and attributes follow the semantic conventions as far as there are any: those for RPC clients
(https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/) for every storage that is reached over a network, and
those for S3 (https://opentelemetry.io/docs/specs/semconv/object-stores/s3/) for the S3 family; those for HTTP clients
(https://opentelemetry.io/docs/specs/semconv/http/http-spans/) for each request. What they have no word
for begins with ``mediagit_storage.``. Recorded as errors are failures alone, as
https://opentelemetry.io/docs/specs/semconv/general/recording-errors/ asks for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import Token
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from mediagit_storage.errors import ConfigError
from mediagit_storage.events import HTTP_ATTEMPT, Event
from mediagit_storage.layers.observe.hooks import Hook, Record, Watch
from mediagit_storage.types import ConnectionInfo

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["TraceHook"]

_OWN: Final = "mediagit_storage"
_LOCAL: Final = frozenset({"file", "memory"})
_S3: Final = frozenset({"s3", "minio", "b2", "spaces"})

#: Operations whose ``key`` is that of an object.
_WITH_OBJECT: Final = frozenset(
    {"put", "read", "stream", "stat", "delete", "copy", "rename", "presign", "replace_head", "content_checksum",
     "stat_upload", "abort_upload"}
)  # fmt: skip


class _Place(NamedTuple):
    """Where a storage is, as far as spans say it: its scheme, its bucket on S3, and what leads every key there."""

    scheme: str
    bucket: str | None
    prefix: str

    @classmethod
    def of(cls, info: ConnectionInfo) -> _Place:
        """The place of the storage that ``info`` opens."""
        layers, bucket = info.config.get("layers"), info.config.get("bucket")
        prefixes = [each.get("prefix") for each in layers if isinstance(each, dict)] if isinstance(layers, list) else []
        return cls(
            info.type,
            bucket if isinstance(bucket, str) and info.type in _S3 else None,
            "".join(each for each in reversed(prefixes) if isinstance(each, str)),
        )


class TraceHook(Hook):
    """A span for each operation on the storage at ``place``, by ``provider``, or else by the program's own.

    It is a child of the span that is current when the operation begins, and ends with it; that of a stream or a listing
    lasts as long as its reader takes. It is current while the storage works, except in batches, where many are at once.
    """

    def __init__(self, place: ConnectionInfo, provider: TracerProvider | None = None) -> None:
        try:
            # Not at the top: it is an extra, and slow to import.
            from opentelemetry import context, trace  # noqa: PLC0415
        except ImportError:
            raise ConfigError("spans need the extra 'trace': pip install 'mediagit-storage[trace]'") from None
        self._place = _Place.of(place)
        self._tracer = trace.get_tracer(_OWN, version("mediagit-storage"), provider)
        self._failure = trace.StatusCode.ERROR
        self._kind = trace.SpanKind.INTERNAL if place.type in _LOCAL else trace.SpanKind.CLIENT
        self._context, self._trace = context, trace

    details = True

    def begun(self, record: Record) -> Watch:
        """Start the span."""
        method = f"{_OWN}.StorageBackend/{record.operation}"
        attributes = _attributes(record, self._place, method)
        return _SpanWatch(self, self._tracer.start_span(method, kind=self._kind, attributes=attributes))

    def batch_event(self, store: str, event: Event) -> None:
        """An event of the span around the batch, where there is one; a request is a span below it."""
        self.add(self._trace.get_current_span(), event)

    def add(self, span: Span, event: Event) -> None:
        """Tell of something that happened below ``span``."""
        if event.kind == HTTP_ATTEMPT:
            self._add_request(span, event.fields)
        elif span.is_recording():
            fields = {f"{_OWN}.{name}": value for name, value in event.fields.items() if value is not None}
            span.add_event(f"{_OWN}.{event.kind}", {**fields, f"{_OWN}.message": event.message})

    def _add_request(self, parent: Span, fields: Mapping[str, str | int | float | bool | None]) -> None:
        """A span for a request that is over."""
        end = time.time_ns()
        span = self._tracer.start_span(
            str(fields["method"]),
            context=self._trace.set_span_in_context(parent),
            kind=self._trace.SpanKind.CLIENT,
            attributes=_request_attributes(fields),
            start_time=end - int(float(fields["seconds"] or 0) * 1e9),
        )
        status, error = fields["status"], fields["error"]
        if error is not None or (isinstance(status, int) and status >= 400):
            span.set_attribute("error.type", str(error or status))
            span.set_status(self._failure)
        span.end(end)

    def enter(self, span: Span) -> Token[Context]:
        """Make a span the current one."""
        return self._context.attach(self._trace.set_span_in_context(span))

    def leave(self, token: Token[Context]) -> None:
        """Undo `enter`."""
        self._context.detach(token)

    def end(self, span: Span, record: Record) -> None:
        """Complete a span and end it."""
        if span.is_recording():
            counts = {
                f"{_OWN}.bytes_read": record.bytes_read,
                f"{_OWN}.bytes_written": record.bytes_written,
                f"{_OWN}.items": record.items,
                f"{_OWN}.retries": (record.attempts or 1) - 1,
            }
            span.set_attribute(f"{_OWN}.outcome", record.outcome)
            span.set_attributes({name: count for name, count in counts.items() if count})
            if record.outcome == "failed" and record.error is not None:
                span.set_attribute("error.type", record.error)
                span.set_status(self._failure, record.message)
        span.end()


class _SpanWatch(Watch):
    """One operation's span."""

    def __init__(self, hook: TraceHook, span: Span) -> None:
        self._hook = hook
        self._span = span
        self._token: Token[Context] | None = None
        self.paced = self.details = span.is_recording()

    def resumed(self) -> None:
        """What others trace below becomes a child."""
        self._token = self._hook.enter(self._span)

    def paused(self) -> None:
        """The span that was current is so again."""
        if self._token is not None:
            self._hook.leave(self._token)

    def event(self, event: Event) -> None:
        """An event of the span, or a span below it."""
        self._hook.add(self._span, event)

    def ended(self, record: Record) -> None:
        """The end of the span."""
        self._hook.end(self._span, record)


def _request_attributes(fields: Mapping[str, str | int | float | bool | None]) -> Mapping[str, str | int]:
    """What the conventions say of a request, and how many bytes its bodies had."""
    url = str(fields["url"])
    place = urlsplit(url)
    found: dict[str, str | int | float | bool | None] = {
        "http.request.method": fields["method"],
        "url.full": url,
        "server.address": place.hostname,
        "server.port": place.port or (443 if place.scheme == "https" else 80),
        "http.response.status_code": fields["status"],
        f"{_OWN}.sent_bytes": fields["sent_bytes"],
        f"{_OWN}.received_bytes": fields["received_bytes"],
    }
    return {name: value for name, value in found.items() if isinstance(value, str | int)}


def _attributes(record: Record, place: _Place, method: str) -> Mapping[str, str]:
    """What is known of an operation when it begins."""
    found: dict[str, str | None] = {
        f"{_OWN}.store": record.store,
        f"{_OWN}.key": record.key,
        f"{_OWN}.target": record.target,
        f"{_OWN}.detail": record.detail,
    }
    if place.scheme not in _LOCAL:
        found |= {"rpc.system.name": _OWN, "rpc.method": method}
    if place.bucket is not None:
        key = None if record.key is None else place.prefix + record.key
        found["aws.s3.bucket"] = place.bucket
        if record.target is not None:
            found |= {"aws.s3.key": place.prefix + record.target, "aws.s3.copy_source": f"{place.bucket}/{key}"}
        elif record.operation in _WITH_OBJECT:
            found["aws.s3.key"] = key
    return {name: value for name, value in found.items() if value is not None}
