"""A transport that can hold back what is written for a moment: a head and a small body then leave in one packet."""

from __future__ import annotations

import asyncio

__all__ = ["CorkedTransport"]


class CorkedTransport(asyncio.Transport):
    """Another transport, with `hold` and `release`; what is held is written before it closes."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._held: list[bytes | bytearray | memoryview] | None = None

    def hold(self) -> None:
        """Keep what is written until `release`."""
        if self._held is None:
            self._held = []

    def release(self) -> None:
        """Write what was held, in one call."""
        held, self._held = self._held, None
        if held:
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write, now or when it is released."""
        if self._held is None:
            self._transport.write(data)
        elif data:
            self._held.append(data)

    def close(self) -> None:
        """Close when everything is written."""
        self.release()
        self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._held = None
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: object = None) -> object:
        """What is known of the connection."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Take nothing more from the client."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take from the client again."""
        self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        """How many bytes wait for the client."""
        return self._transport.get_write_buffer_size()
