"""Refuses a wrong token at every address, also in the admin, and not only where a view checks it."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from esassistant.errors import Unauthorized
from esassistant.http.auth import token_caller
from esassistant.http.early_middleware import EarlyMiddleware
from esassistant.http.problems import answer_of_error


class TokenMiddleware(EarlyMiddleware):
    """Answers 401 to a request with a bearer token that isn't one of ours. Otherwise the client would take another
    answer, such as the login form of the admin, for what its token gives access to.
    """

    def early(self, request: HttpRequest) -> HttpResponseBase | None:
        """Return the refusal, or None if there is no token or it is one of ours."""
        try:
            token_caller(request)
        except Unauthorized as error:
            return answer_of_error(request, error)
        return None
