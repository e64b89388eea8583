"""A wrong token is refused at every address, the admin's too, and not only where somebody asks for it."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from esassistant.errors import Unauthorized
from esassistant.http.auth import token_caller
from esassistant.http.early_middleware import EarlyMiddleware
from esassistant.http.problems import answer_of_error


class TokenMiddleware(EarlyMiddleware):
    """Answers 401 to a request with a bearer token that isn't ours. Who sends one takes the answer for what the token
    is good for, such as the login form in place of the admin.
    """

    def early(self, request: HttpRequest) -> HttpResponseBase | None:
        """Return the refusal; None: there is no token, or it is one of ours."""
        try:
            token_caller(request)
        except Unauthorized as error:
            return answer_of_error(request, error)
        return None
