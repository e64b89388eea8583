"""Django's error pages and mailed reports, without secrets: not in settings, headers and form fields, nor in local
variables and exception texts.

Django's own filter hides values by name only, and shows local variables unchanged under DEBUG. Our mask works on all
text.
"""

from typing import Any

from django.http import HttpRequest
from django.template.defaultfilters import pprint
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from esassistant.masking import mask_text


class _Masked:
    """Replaces a local variable; its `repr` is the masked text of the value."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        return mask_text(pprint(self._value))


class MaskingFilter(SafeExceptionReporterFilter):
    """Hides values by name, as Django's filter does, but also in local variables and form fields, and under DEBUG.
    Masks secrets in all other values.
    """

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        cleansed = super().cleanse_setting(key, value)
        return mask_text(cleansed) if isinstance(cleansed, str) else cleansed

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        return {name: self.cleanse_setting(name, value) for name, value in super().get_post_parameters(request).items()}

    def get_traceback_frame_variables(self, request: Any, tb_frame: Any) -> Any:
        variables = super().get_traceback_frame_variables(request, tb_frame)
        return [(name, _Masked(self.cleanse_setting(name, value))) for name, value in variables]


class MaskingReporter(ExceptionReporter):
    """Masks the whole report once more, as no filter handles exception texts, source lines and the address."""

    def get_traceback_html(self) -> str:  # type: ignore[override]  # (nobody needs it marked as safe)
        return mask_text(super().get_traceback_html())

    def get_traceback_text(self) -> str:  # type: ignore[override]
        return mask_text(super().get_traceback_text())
