"""Oscar's own URLs, with a home page that shows products."""

from django.apps import apps
from django.urls import URLPattern, URLResolver, include, path

from storefleet_oscar.views import HomeView

handler500 = "storefleet_oscar.views.render_failure"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", HomeView.as_view(), name="home"),
    path("", include(apps.get_app_config("oscar").urls[0])),
]
