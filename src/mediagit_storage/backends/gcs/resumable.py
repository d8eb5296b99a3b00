"""Resumable uploads: a session takes one request or chunk after chunk, and outlives broken connections and killed processes.

The server tells how much it holds, and the upload goes on from there. An emulator is not asked (fake-gcs-server takes
the question for the end of the upload): it is believed to hold what it has confirmed, and what it says of a checksum is
compared before the upload ends.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Final, NamedTuple

from mediagit_storage.backends.gcs.client import JSON_FIELD, GCSClient
from mediagit_storage.backends.gcs.digests import HASH_FIELD, compare_with, hash_value, stored_text
from mediagit_storage.backends.gcs.feeding import Chunk, Feed
from mediagit_storage.backends.gcs.names import condition_query
from mediagit_storage.backends.gcs.reading import GCSReader
from mediagit_storage.backends.gcs.resources import ObjectResource, decode_object, encode, to_info
from mediagit_storage.backends.gcs.session import Held, Stage, chunk_range, question, session_place, stage_of
from mediagit_storage.backends.gcs.shapes import MADE_UP_TYPE, new_object
from mediagit_storage.errors import ConnectionLostError, IntegrityError, StorageError
from mediagit_storage.http.batch import Sent
from mediagit_storage.http.call import Call, Fields
from mediagit_storage.http.driver import Waker
from mediagit_storage.http.request import Request
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Course, Retried, Retry, Traits
from mediagit_storage.http.written import condition_of, own, remembered
from mediagit_storage.scope import current_scope
from mediagit_storage.types import JSON, Attributes, ObjectInfo, PutOptions, ResumeState

__all__ = ["Resumable"]

#: Finishing takes a while for large objects, in seconds.
_PATIENT: Final = 300.0


class _GoneError(Exception):
    """The session is no more, and the object is not ours."""


class _Session(NamedTuple):
    """Where a session is, and the token of its object. ``held`` is what an earlier run knew that it has; None for a new one."""

    path: str
    query: str
    token: str
    held: int | None = None


class Resumable:
    """Uploads to one bucket in sessions. ``asks`` is False where the server does not know the question."""

    def __init__(
        self, client: GCSClient, reader: GCSReader, *, algorithm: str, insert_query: list[tuple[str, str]], asks: bool
    ) -> None:
        self._client = client
        self._reader = reader
        self._algorithm = algorithm
        self._insert_query = insert_query
        self._asks = asks

    def put(self, key: str, feed: Feed, options: PutOptions) -> ObjectInfo:
        """Upload everything. Whatever goes wrong, the session is cancelled or can be continued."""
        session = self._resumed(feed, options.resume)
        for _ in range(self._client.rules.policy.attempts):
            info = self._carry(key, feed, options, session)
            if info is not None:
                return info
            if not feed.restartable:
                break
            feed.restart()
            session = None
        raise ConnectionLostError("the server gave up the upload session; start the upload again")

    # ---- one session

    def _carry(self, key: str, feed: Feed, options: PutOptions, found: _Session | None) -> ObjectInfo | None:
        """Take one session to its end; None where it is no more, and the object is not ours."""
        state = options.resume
        session = found if found is not None else self._begin(key, options, feed.total)
        run = _Run(self, key, feed, options, session)
        cancel = lambda: self._client.aside(lambda: self.cancel(session.path, session.query))  # noqa: E731
        with remembered(state, _saved(session, 0), cancel, kept=found is not None) as kept:
            confirmed = None
            if state is not None and kept and not self._asks:
                confirmed = lambda end: state.save(_saved(session, end))  # noqa: E731
            try:
                return run.to_end(confirmed)
            except _GoneError:
                return None

    def _begin(self, key: str, options: PutOptions, total: int | None) -> _Session:
        """Begin a session. Every one has a token: by it a completed upload is known again when its session is gone."""
        client, token = self._client, secrets.token_hex(16)
        attributes = options.attributes
        document = new_object(key, attributes, token=token, options=options)
        query = [("uploadType", "resumable"), *self._insert_query, *condition_query(
            if_absent=options.if_absent, if_match=options.if_match
        )]  # fmt: skip
        fields: Fields = [JSON_FIELD, ("x-upload-content-type", _type_of(attributes)), *client.content]
        if total is not None:
            fields.append(("x-upload-content-length", str(total)))
        call = Call("POST", client.upload_path, client.query(query), fields, encode(document))
        response = client.expect(call, subject="bucket", condition=condition_of(options))
        return _Session(*session_place(response.headers.get("location")), token)

    def cancel(self, path: str, query: str) -> None:
        """Cancel a session; one that is gone is fine, and one that cannot be cancelled now ends after a week."""
        try:
            self._client.send(Call("DELETE", path, query, [("content-length", "0")]))
        except StorageError:
            return

    def ask(self, session: _Session, total: int | None) -> Response:
        """How much a session holds."""
        fields = [("content-range", question(total)), *self._client.content]
        return self._client.send(Call("PUT", session.path, session.query, fields, b"", idle_timeout=_PATIENT)).response

    # ---- what earlier runs left

    def _resumed(self, feed: Feed, state: ResumeState | None) -> _Session | None:
        if state is None:
            return None
        left = state.abandoned()
        if left is not None:
            stale = _session_in(left)
            if stale is not None:
                self.cancel(stale.path, stale.query)
            state.clear()
        saved = state.load()
        session = None if saved is None else _session_in(saved)
        # A journal that speaks of more than there is, is of something else.
        return None if session is None or (session.held or 0) > (feed.total or 0) else session

    # ---- whose object it is

    def own(self, key: str, token: str) -> ObjectResource | None:
        """The object under ``key``, if it is the one that was written with ``token``."""
        return own(self._reader.hidden, key, token)

    def accept(self, key: str, resource: ObjectResource, text: str, size: int) -> ObjectInfo:
        """What was stored, if it is what was sent; else it is removed again, and an error."""
        try:
            compare_with(resource, self._algorithm, text, size)
        except IntegrityError:
            self._client.aside(lambda: self._remove(key, resource))
            raise
        info = to_info(resource, key)
        info.size = info.stored_size = size
        return info

    def _remove(self, key: str, resource: ObjectResource) -> None:
        if resource.generation:
            query = condition_query(if_match=str(resource.generation))
            self._client.send(self._client.object_call("DELETE", key, query))


class _Run:
    """The way of one session from some byte to the end."""

    def __init__(self, owner: Resumable, key: str, feed: Feed, options: PutOptions, session: _Session) -> None:
        self._owner = owner
        self._client = owner._client  # noqa: SLF001  # two halves of one thing
        self._asks = owner._asks  # noqa: SLF001
        self._algorithm = owner._algorithm  # noqa: SLF001
        self._key = key
        self._feed = feed
        self._options = options
        self._session = session
        #: Whether a chunk was sent whose answer never came.
        self._doubtful = False
        #: Whether the file was asked, before the last bytes went, if it had changed.
        self._proven = False
        #: How many answers in a row have taken nothing.
        self._stalls = 0

    def to_end(self, confirmed: Callable[[int], object] | None) -> ObjectInfo:
        """Send what is missing; a session of an earlier run is asked what it has. ``confirmed`` hears how much is held."""
        feed, held = self._feed, self._session.held or 0
        if self._asks and self._session.held is not None:
            found = self._after_question()
            if isinstance(found, ObjectInfo):
                return found
            held = found
        course: Course | None = None
        while True:
            current_scope().check()
            feed.reached(held)
            chunk = feed.chunk(held)
            end = chunk.end
            outcome, course = self._send(chunk, course)
            # Whoever knows the chunk holds it, and the next one is about to be made.
            del chunk
            if isinstance(outcome, ObjectInfo):
                feed.reached(end)
                return outcome
            if outcome > held:
                course = None
                if confirmed is not None:
                    confirmed(outcome)
            held = outcome

    def _send(self, chunk: Chunk, course: Course | None) -> tuple[ObjectInfo | int, Course | None]:
        """Send one chunk: the object, or how much is held now. ``course`` counts the attempts without progress."""
        client = self._client
        call = self._chunk_call(chunk)
        request = client.request(call)
        decision: Retry | Retried | Exception
        try:
            # A source that keeps us waiting must not keep the same chunk from arriving twice.
            response = (
                self._sent(request, chunk.start) if course is not None else self._sent_ahead(request, chunk.start)
            )
        except StorageError as error:
            # A chunk may travel for hours: what is counted begins with its failure.
            course = course if course is not None else Course(client.job(call), client.rules)
            decision = course.after_error(error, request)
            if not isinstance(decision, Retry):
                raise
        else:
            course = course if course is not None else Course(client.job(call), client.rules)
            decision = course.after_response(response)
        if isinstance(decision, Retry):
            self._doubtful = True
            client.rules.sleep(decision.delay)
            return (self._after_question() if self._asks else chunk.start), course
        return self._judge(decision.response, chunk), course

    def _sent(self, request: Request, start: int) -> Response:
        """The answer to a chunk that begins there; what moves is told."""
        feed = self._feed
        reached = start

        def moved(count: int) -> None:
            nonlocal reached
            reached += count
            feed.reached(reached)

        return self._client.transport.send(request, progress=moved)

    def _sent_ahead(self, request: Request, start: int) -> Response:
        """The same; a feed that can only be read in order puts its next chunk together meanwhile."""
        feed = self._feed
        if not feed.in_order:
            return self._sent(request, start)
        answers: list[Sent] = []
        with closing(Waker()) as waker:

            def requests() -> Iterator[Request | None]:
                yield request
                while not answers and feed.look_ahead():
                    # What travels is looked after, then the feed is asked again at once.
                    waker.wake()
                    yield None

            answers.extend(self._client.transport.send_all(requests(), concurrency=2, waker=waker))
        [answer] = answers
        if answer.response is None:
            raise answer.error or IntegrityError("a chunk has neither an answer nor an error")
        return answer.response

    def _chunk_call(self, chunk: Chunk) -> Call:
        session, feed = self._session, self._feed
        fields: Fields = [("content-range", chunk_range(chunk.start, chunk.length, chunk.total)), *self._client.content]
        if chunk.last:
            text = feed.digest_to(chunk.end)
            feed.confirm()
            self._proven = True
            fields.append((HASH_FIELD, hash_value(self._algorithm, text)))
        # Finishing takes a while, and so may what comes in order.
        patience = _PATIENT if chunk.last or feed.in_order else None
        # It is repeated only after a look at how much has arrived, so that repeating it is harmless.
        return Call("PUT", session.path, session.query, fields, chunk.body, Traits(), idle_timeout=patience)

    def _judge(self, response: Response, chunk: Chunk) -> ObjectInfo | int:
        """What the answer to a chunk means."""
        stage = stage_of(response.status, response.headers)
        if isinstance(stage, Held):
            return self._held(stage.size, response, chunk)
        if stage is Stage.COMPLETE:
            return self._completed(decode_object(response.body))
        if stage is Stage.GONE:
            return self._gone()
        if response.status == 412 and (self._doubtful or response.attempts > 1):
            ours = self._owner.own(self._key, self._session.token)
            if ours is not None:
                return self._completed(ours)
        raise self._client.cleaned(
            self._client.error_of(response, subject="bucket", condition=condition_of(self._options))
        )

    def _held(self, count: int, response: Response, chunk: Chunk) -> int:
        if not self._asks:
            self._compare(response, chunk)
            return chunk.end
        if count > chunk.end:
            raise IntegrityError(f"the server holds {count:,} bytes, and was sent {chunk.end:,}")
        if count > chunk.start:
            self._stalls = 0
            return count
        policy = self._client.rules.policy
        self._stalls += 1
        if self._stalls >= policy.attempts:
            raise ConnectionLostError("the server takes no more of the upload; try again later")
        self._client.rules.sleep(policy.base)
        return count

    def _compare(self, response: Response, chunk: Chunk) -> None:
        """Emulators describe what they hold so far. Where that is not what was sent, the session is worth nothing."""
        if not response.body.lstrip().startswith(b"{"):
            return
        text = stored_text(decode_object(response.body), self._algorithm)
        if text and text != self._feed.digest_to(chunk.end):
            self._owner.cancel(self._session.path, self._session.query)
            raise _GoneError

    def _completed(self, resource: ObjectResource) -> ObjectInfo:
        feed = self._feed
        if feed.total is None:
            raise IntegrityError("the server ended the upload before everything was sent")
        text = feed.digest_to(feed.total)
        # One that proved to be the same before the end was sent is stored: what happens to it now is of no concern.
        if not self._proven:
            feed.confirm()
        return self._owner.accept(self._key, resource, text, feed.total)

    def _gone(self) -> ObjectInfo:
        ours = self._owner.own(self._key, self._session.token)
        if ours is None:
            raise _GoneError
        return self._completed(ours)

    def _after_question(self) -> ObjectInfo | int:
        """How much the session holds, as it says itself."""
        response = self._owner.ask(self._session, self._feed.total)
        stage = stage_of(response.status, response.headers)
        if isinstance(stage, Held):
            if self._feed.total is not None and stage.size > self._feed.total:
                # It holds something else, or does not know what it says: begun anew.
                self._owner.cancel(self._session.path, self._session.query)
                raise _GoneError
            return stage.size
        if stage is Stage.COMPLETE:
            return self._completed(decode_object(response.body))
        if stage is Stage.GONE:
            return self._gone()
        raise self._client.cleaned(
            self._client.error_of(response, subject="bucket", condition=condition_of(self._options))
        )


def _type_of(attributes: Attributes | None) -> str:
    return (attributes.content_type if attributes is not None else None) or MADE_UP_TYPE


def _saved(session: _Session, held: int) -> dict[str, JSON]:
    """What a later run needs. The place of a session lets its holder upload, so the journal is its owner's alone."""
    return {"path": session.path, "query": session.query, "token": session.token, "held": held}


def _session_in(saved: Mapping[str, JSON]) -> _Session | None:
    path, query, token = saved.get("path"), saved.get("query"), saved.get("token")
    if not isinstance(path, str) or not isinstance(query, str) or not isinstance(token, str):
        return None
    held = saved.get("held")
    try:
        return _Session(*session_place(f"{path}?{query}"), token, held if isinstance(held, int) and held >= 0 else 0)
    except IntegrityError:
        return None
