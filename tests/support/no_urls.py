"""The addresses of a project that hasn't included ours."""

urlpatterns: list[object] = []
