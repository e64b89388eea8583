"""The middlewares of our addresses, from the outside in. In a project that embeds this service they stand around our
addresses alone, and the project's own around all others.
"""


def middleware(*, cors: bool) -> list[str]:
    """The names of the middlewares; `cors`: pages of other origins may ask."""
    return [
        "esassistant.http.security_headers.SecurityHeadersMiddleware",
        "healthapp.probes.ProbeMiddleware",
        "esassistant.http.problems.ProblemMiddleware",
        "django.middleware.security.SecurityMiddleware",
        "esassistant.http.session_middleware.SessionMiddleware",
        *(["corsheaders.middleware.CorsMiddleware"] if cors else []),
        # Outside of what sets a length, inside of what adds to Vary: so both lanes and the hot path name the same in
        # order.
        "esassistant.http.compression.CompressionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "esassistant.http.token_middleware.TokenMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "esassistant.http.session_middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ]
