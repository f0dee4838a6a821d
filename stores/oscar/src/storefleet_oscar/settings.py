"""Django settings of one store, derived from its configuration only."""

from email.utils import formataddr
from typing import Any

from oscar.defaults import *  # noqa: F403 - as Oscar's documentation prescribes

from storefleet_oscar import configuration

STORE = configuration.load_store()

DEBUG = False
SECRET_KEY = STORE.secret_key
ALLOWED_HOSTS = [STORE.host]
ROOT_URLCONF = "storefleet_oscar.urls"
SITE_ID = 1
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Applications: Oscar's own list, with our forks of six of them, and without Haystack.
# SimpleAdminConfig skips the discovery of admin modules.
INSTALLED_APPS = [
    "storefleet_oscar.apps.StorefleetConfig",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.sites",
    "django.contrib.flatpages",
    "oscar.config.Shop",
    "oscar.apps.analytics.apps.AnalyticsConfig",
    "storefleet_oscar.apps.checkout.apps.CheckoutConfig",
    "oscar.apps.address.apps.AddressConfig",
    "storefleet_oscar.apps.shipping.apps.ShippingConfig",
    "oscar.apps.catalogue.apps.CatalogueConfig",
    "oscar.apps.catalogue.reviews.apps.CatalogueReviewsConfig",
    "storefleet_oscar.apps.communication.apps.CommunicationConfig",
    "oscar.apps.partner.apps.PartnerConfig",
    "oscar.apps.basket.apps.BasketConfig",
    "oscar.apps.payment.apps.PaymentConfig",
    "oscar.apps.offer.apps.OfferConfig",
    "oscar.apps.order.apps.OrderConfig",
    "storefleet_oscar.apps.customer.apps.CustomerConfig",
    "storefleet_oscar.apps.search.apps.SearchConfig",
    "oscar.apps.voucher.apps.VoucherConfig",
    "oscar.apps.wishlists.apps.WishlistsConfig",
    "storefleet_oscar.apps.dashboard.apps.DashboardConfig",
    "oscar.apps.dashboard.reports.apps.ReportsDashboardConfig",
    "oscar.apps.dashboard.users.apps.UsersDashboardConfig",
    "oscar.apps.dashboard.orders.apps.OrdersDashboardConfig",
    "oscar.apps.dashboard.catalogue.apps.CatalogueDashboardConfig",
    "oscar.apps.dashboard.offers.apps.OffersDashboardConfig",
    "oscar.apps.dashboard.partners.apps.PartnersDashboardConfig",
    "oscar.apps.dashboard.pages.apps.PagesDashboardConfig",
    "oscar.apps.dashboard.ranges.apps.RangesDashboardConfig",
    "oscar.apps.dashboard.reviews.apps.ReviewsDashboardConfig",
    "oscar.apps.dashboard.vouchers.apps.VouchersDashboardConfig",
    "oscar.apps.dashboard.communications.apps.CommunicationsDashboardConfig",
    "oscar.apps.dashboard.shipping.apps.ShippingDashboardConfig",
    "widget_tweaks",
    "treebeard",
    "sorl.thumbnail",
    "django_tables2",
]
#: The forks add no model, so the originals' migrations apply.
MIGRATION_MODULES = {
    label: f"oscar.apps.{label}.migrations" for label in ("communication", "customer", "shipping")
}

MIDDLEWARE = [
    "storefleet_oscar.middleware.ContentSecurityPolicy",
    "django.middleware.security.SecurityMiddleware",
    "storefleet_oscar.middleware.StaticAndMediaFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "storefleet_oscar.storefront.ClosedStorefront",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "oscar.apps.basket.middleware.BasketMiddleware",
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        # Text mails: nothing in them is escaped for HTML. The loader finds names with .txt only.
        "NAME": "text",
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "autoescape": False,
            "loaders": ["storefleet_oscar.text_templates.TextTemplateLoader"],
        },
    },
    {
        "NAME": "django",
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "oscar.apps.search.context_processors.search_form",
                "oscar.apps.checkout.context_processors.checkout",
                "oscar.apps.communication.notifications.context_processors.notifications",
                "oscar.core.context_processors.metadata",
            ],
        },
    },
]

# Database: one connection per thread, checked before reuse, so that a restart of the server causes
# no error.
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": STORE.database.host,
        "PORT": STORE.database.port,
        "NAME": STORE.database.name,
        "USER": STORE.database.user,
        "PASSWORD": STORE.database.password,
        "ATOMIC_REQUESTS": True,
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 5, "application_name": "storefleet_oscar"},
    }
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 1000},
    }
}

# Search: `storefleet_oscar.apps.search` asks PostgreSQL. Oscar imports Haystack, which insists on a
# connection; nothing uses it.
HAYSTACK_CONNECTIONS = {"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}}
OSCAR_SEARCH_FACETS: dict[str, Any] = {"fields": {}, "queries": {}}

# Files: static files from the installed packages, pictures from the store's folder.
STATIC_URL = "/static/"
MEDIA_URL = "/media/"
MEDIA_ROOT = STORE.data_dir / "media"
WHITENOISE_AUTOREFRESH = True  # find files per request instead of listing them all at start-up
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 3600
WHITENOISE_ALLOW_ALL_ORIGINS = False
STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.AppDirectoriesFinder"]
FILE_UPLOAD_TEMP_DIR = STORE.data_dir / "uploads"
OSCAR_IMAGE_FOLDER = "products/"
THUMBNAIL_PRESERVE_FORMAT = True
THUMBNAIL_ENGINE = "storefleet_oscar.thumbnails.Engine"
THUMBNAIL_BACKEND = "storefleet_oscar.thumbnails.Backend"

# Accounts and cookies.
AUTHENTICATION_BACKENDS = ["oscar.apps.customer.auth_backends.EmailBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 9},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_HASHERS = [
    "storefleet_oscar.hashers.Argon2Hasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
LOGIN_REDIRECT_URL = "/"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = STORE.is_https
OSCAR_BASKET_COOKIE_SECURE = OSCAR_RECENTLY_VIEWED_COOKIE_SECURE = STORE.is_https
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if STORE.is_https else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# Language and time: English only, so that no translations are loaded.
LANGUAGE_CODE = "en-us"
LANGUAGES = [("en-us", "English")]
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True

# E-mail: kept in the database, where the platform shows it to the owner; see `outbox`.
EMAIL_BACKEND = "storefleet_oscar.outbox.OutboxBackend"
DEFAULT_FROM_EMAIL = OSCAR_FROM_EMAIL = SERVER_EMAIL = formataddr(
    (STORE.title, f"shop@{STORE.host}")
)

# Oscar.
OSCAR_SHOP_NAME = STORE.title
OSCAR_SHOP_TAGLINE = ""
OSCAR_HOMEPAGE = "/"
OSCAR_DEFAULT_CURRENCY = STORE.currency
OSCAR_URL_SCHEMA = "https" if STORE.is_https else "http"
OSCAR_ALLOW_ANON_CHECKOUT = True
#: What every country needs; `addresses` adds what the chosen country does.
OSCAR_REQUIRED_ADDRESS_FIELDS = ("first_name", "last_name", "line1", "country")
OSCAR_DASHBOARD_NAVIGATION = [
    *OSCAR_DASHBOARD_NAVIGATION,  # noqa: F405
    {"label": "Storefront", "icon": "fas fa-store", "url_name": "dashboard:storefront"},
]
OSCAR_INITIAL_ORDER_STATUS = OSCAR_INITIAL_LINE_STATUS = "Pending"
OSCAR_ORDER_STATUS_PIPELINE = {
    "Pending": ("Being processed", "Cancelled"),
    "Being processed": ("Complete", "Cancelled"),
    "Complete": (),
    "Cancelled": (),
}
OSCAR_ORDER_STATUS_CASCADE = {
    "Being processed": "Being processed",
    "Complete": "Complete",
    "Cancelled": "Cancelled",
}
OSCAR_LINE_STATUS_PIPELINE = OSCAR_ORDER_STATUS_PIPELINE

# `storefleet_oscar.logs` configures logging before Django is set up.
LOGGING_CONFIG = None
