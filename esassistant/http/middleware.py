"""The middlewares of our addresses, from the outside in. In a project that embeds this service they wrap only our
addresses; all others have the project's own.
"""


def middleware(*, cors: bool) -> list[str]:
    """Return the names of the middlewares. `cors`: pages of other origins may call us."""
    return [
        "esassistant.http.security_headers.SecurityHeadersMiddleware",
        "healthapp.probes.ProbeMiddleware",
        "esassistant.http.problems.ProblemMiddleware",
        "django.middleware.security.SecurityMiddleware",
        "esassistant.http.session_middleware.SessionMiddleware",
        *(["corsheaders.middleware.CorsMiddleware"] if cors else []),
        # It lies outside of the middleware that sets the length, and inside of those that add to Vary. So both lanes
        # and the hot path have the same Vary, in the same order.
        "esassistant.http.compression.CompressionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "esassistant.http.token_middleware.TokenMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "esassistant.http.session_middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ]
