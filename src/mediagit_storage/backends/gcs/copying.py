"""Copies that the service makes itself, in as many calls as it wants; and deleted objects brought back by one."""

from __future__ import annotations

import secrets
from typing import Final

from mediagit_storage.backends.gcs.client import JSON_FIELD, GCSClient
from mediagit_storage.backends.gcs.names import condition_query, object_path
from mediagit_storage.backends.gcs.reading import GCSReader
from mediagit_storage.backends.gcs.resources import ObjectResource, decode_rewritten, encode, to_info
from mediagit_storage.backends.gcs.resumable import Resumable
from mediagit_storage.backends.gcs.shapes import copied_object
from mediagit_storage.errors import AlreadyExistsError, ConnectionLostError, IntegrityError, NotFoundError
from mediagit_storage.http.call import Call, Query
from mediagit_storage.http.retry import Retried, Traits
from mediagit_storage.types import Attributes, CopyOptions, ObjectInfo

__all__ = ["Copier"]

#: A call of a copy returns after half a minute with a token; more patience than that is for slow servers, in seconds.
_PATIENT: Final = 300.0


class Copier:
    """Copies within one bucket."""

    def __init__(self, client: GCSClient, reader: GCSReader, sessions: Resumable, *, kms_key_name: str | None) -> None:
        self._client = client
        self._reader = reader
        self._sessions = sessions
        self._kms_key_name = kms_key_name

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Copy one object: a look at it, and as many calls as the service wants for the generation that was seen."""
        self._client.check_written(target)
        found = self._reader.look(source, options.version)
        options.require(to_info(found, source).etag)
        if source == target:
            if options.if_absent:
                raise AlreadyExistsError("an object is there already")
            if options.version is None and options.attributes is None:
                return to_info(found, target)
        return self._rewrite(found, source, target, options.attributes, if_absent=options.if_absent)

    def restore(self, key: str, generation: str) -> None:
        """Bring back what was deleted: the generation becomes the object again, unless there is one."""
        try:
            found = self._reader.look(key, generation)
            self._rewrite(found, key, key, None, if_absent=True)
        except (AlreadyExistsError, NotFoundError):
            # The deletion is no more, which is what was asked for.
            return

    def _rewrite(
        self, found: ObjectResource, source: str, target: str, attributes: Attributes | None, *, if_absent: bool
    ) -> ObjectInfo:
        client = self._client
        # Without any metadata in what the copy is to be, some servers keep the old ones.
        token = secrets.token_hex(16) if if_absent or attributes is not None else None
        path = (
            object_path(client.bucket, source)
            + "/rewriteTo"
            + object_path(client.bucket, target).removeprefix("/storage/v1")
        )
        query: Query = [
            ("sourceGeneration", str(found.generation)),
            *condition_query(if_absent=if_absent),
            *([("destinationKmsKeyName", self._kms_key_name)] if self._kms_key_name else []),
        ]
        body = encode(copied_object(found, attributes, token))
        fields = [JSON_FIELD, *client.content, *client.source]
        rewrite_token: str | None = None
        while True:
            asked = [*query, *([("rewriteToken", rewrite_token)] if rewrite_token else [])]
            traits = Traits(conditional=if_absent)
            call = Call("POST", path, client.query(asked), fields, body, traits, idle_timeout=_PATIENT)
            retried = client.send(call)
            if retried.response.status != 200:
                return self._failed(retried, target, token, if_absent=if_absent)
            answer = decode_rewritten(retried.response.body)
            if answer.done:
                if answer.resource is None:
                    raise IntegrityError("the server copied an object and does not describe the copy")
                return to_info(answer.resource, target)
            if not answer.rewrite_token:
                raise IntegrityError("the server's copy is not done, and it does not say how to go on")
            rewrite_token = answer.rewrite_token

    def _failed(self, retried: Retried, target: str, token: str | None, *, if_absent: bool) -> ObjectInfo:
        response = retried.response
        if if_absent and token is not None and response.status == 412 and retried.maybe_done:
            ours = self._sessions.own(target, token)
            if ours is not None:
                return to_info(ours, target)
        error = self._client.error_of(response, condition="absent" if if_absent else None)
        self._client.cleaned(error)
        if isinstance(error, NotFoundError):
            self._client.prove_bucket(error)
            raise ConnectionLostError(
                "the object was overwritten or deleted while it was copied; copy it again"
            ) from error
        raise error
