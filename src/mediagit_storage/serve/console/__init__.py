"""The web console: pages about what is stored, drawn by the server, which scripts only make more comfortable.

See `routes`. What people see is made by pure functions of HTML values (`markup`); what pages may do is in `replies`.
"""

from mediagit_storage.serve.console.routes import routes

__all__ = ["routes"]
