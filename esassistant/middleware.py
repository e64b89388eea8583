"""What the middlewares have in common."""

from abc import ABC, abstractmethod
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class AnswerMiddleware(ABC):
    """A middleware that looks at answers alone, of views of either kind: no hop to a thread before an async one."""

    async_capable = True
    sync_capable = True

    def __init__(self, get_response: Any) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if self._is_async:
            return self._acall(request)
        return self.answered(request, self._get_response(request))

    @abstractmethod
    def answered(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """What is answered in place of `response`."""

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        return self.answered(request, await self._get_response(request))
