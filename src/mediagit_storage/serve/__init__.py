"""The HTTP gateway over any storage: objects, a web console, health and metrics. See `build` in `app` and `Listener`.

Needs the extra ``serve``; importing this package without it is a `ConfigError` that says so.
"""

from mediagit_storage.errors import ConfigError

try:
    import prometheus_client
    import starlette
    import uvicorn
except ImportError:
    raise ConfigError("serving needs the extra 'serve': pip install 'mediagit-storage[serve]'") from None

__all__: list[str] = []

del prometheus_client, starlette, uvicorn
