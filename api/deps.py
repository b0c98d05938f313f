"""What routes ask for: the parts of the service, and a caller who may do what the route does."""

from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import Depends, Request

from .auth import check_scope
from .caller import Caller, Scope
from .service import Service

CALLER_KEY = "loopwright.caller"
"""Where the border (`api/border.py`) leaves the authenticated caller in an ASGI scope."""


REQUEST_ID_KEY = "loopwright.request_id"
"""Where the border leaves the request's id."""


DEADLINE_KEY = "loopwright.deadline"
"""Where the border leaves the `asyncio.Timeout` after which a request is given up."""


async def service_of(request: Request) -> Service:
    """Return the parts of the service that the application was made with. Asynchronous: threads would cost more."""
    return cast(Service, request.app.state.service)


def caller_with(scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
    """Return a dependency that yields the caller, when the key may do what asks for `scope`.

    Raises:
        ScopeMissing: The key lacks the scope.
    """

    async def allowed(request: Request) -> Caller:
        caller = cast(Caller, request.scope[CALLER_KEY])
        check_scope(caller, scope)
        return caller

    return allowed


ServiceDep = Annotated[Service, Depends(service_of)]
ReadCaller = Annotated[Caller, Depends(caller_with("read"))]
RunsCaller = Annotated[Caller, Depends(caller_with("runs"))]
ApproveCaller = Annotated[Caller, Depends(caller_with("approve"))]
AdminCaller = Annotated[Caller, Depends(caller_with("admin"))]
