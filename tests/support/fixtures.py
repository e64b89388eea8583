"""The types of the functions that fixtures return."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx

from esassistant.breaker import BreakerPolicy
from esassistant.config.model import Config

LoadSettings = Callable[..., Config]
Figure = Callable[[int, str], None]
OpenApp = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
UseBreaker = Callable[..., BreakerPolicy]
