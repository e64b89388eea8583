"""Middlewares that answer some requests themselves, before any view is called."""

from abc import ABC, abstractmethod
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class EarlyMiddleware(ABC):
    """Base of such middlewares. It is async if the next layer is, so no request needs a thread for it."""

    async_capable = True
    sync_capable = True

    def __init__(self, get_response: Any) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Return the answer. It must be awaited if the next layer is async."""
        answer = self.early(request)
        if answer is None:
            return self._get_response(request)
        return _awaitable(answer) if self._is_async else answer

    @abstractmethod
    def early(self, request: HttpRequest) -> HttpResponseBase | None:
        """Return the answer of this middleware, or None to pass the request on."""


async def _awaitable(answer: HttpResponseBase) -> HttpResponseBase:
    return answer
