"""The addresses of the project, and a view that fails while it holds every secret."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import include, path


async def broken(request: HttpRequest) -> HttpResponse:
    """Fail with secrets in the local variables and in the error."""
    config = settings.ESASSISTANT
    password, key = config.elasticsearch.password, config.elasticsearch.api_key
    mine = [password, key, *config.api_tokens, settings.SECRET_KEY]
    raise ValueError(f"{config} {mine} {request.headers}")


urlpatterns = [path("api/broken", broken), path("broken", broken), path("", include("esassistant.root_urls"))]
