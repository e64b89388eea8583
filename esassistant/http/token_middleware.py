"""A wrong token is refused at every address, the admin's too, and not only where somebody asks for it."""

from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from esassistant.errors import Unauthorized
from esassistant.http.auth import token_caller
from esassistant.http.problems import answer_of_error


class TokenMiddleware:
    """Answers 401 to a request with a bearer token that isn't ours. Who sends one takes the answer for what the token
    is good for, such as the login form in place of the admin.
    """

    async_capable = True
    sync_capable = True

    def __init__(self, get_response: Any) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """The refusal, or the view's answer, which has to be awaited where the view does."""
        refusal = _refusal(request)
        if self._is_async:
            return self._acall(request, refusal)
        return refusal or self._get_response(request)

    async def _acall(self, request: HttpRequest, refusal: HttpResponseBase | None) -> HttpResponseBase:
        answer: HttpResponseBase = refusal or await self._get_response(request)
        return answer


def _refusal(request: HttpRequest) -> HttpResponseBase | None:
    try:
        token_caller(request)
    except Unauthorized as error:
        return answer_of_error(request, error)
    return None
