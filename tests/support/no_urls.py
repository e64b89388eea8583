"""The addresses of a project that doesn't include ours."""

urlpatterns: list[object] = []
