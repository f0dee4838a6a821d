"""The Prometheus metrics of every service, declared here so that they exist before their first use.

Counters get the suffix `_total` when they are exposed. Durations are in seconds.
"""

from prometheus_client import Counter, Gauge, Histogram

from storefleet.core.lifecycle import StoreState
from storefleet.core.observed import StorefrontClass

_FAST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SLOW_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600)

HTTP_REQUESTS = Counter(
    "storefleet_http_requests", "HTTP requests.", ["service", "method", "route", "status"]
)
HTTP_REQUEST_DURATION = Histogram(
    "storefleet_http_request_seconds",
    "Duration of HTTP requests.",
    ["service"],
    buckets=_FAST_BUCKETS,
)
ADMISSIONS = Counter("storefleet_admissions", "Create requests by outcome.", ["outcome"])
STORES_BY_STATE = Gauge("storefleet_stores", "Stores by state.", ["state"])
OPERATIONS_ENDED = Counter(
    "storefleet_operations", "Operations that have ended, by outcome.", ["kind", "outcome"]
)
OPERATION_DURATION = Histogram(
    "storefleet_operation_seconds",
    "Time from the acceptance of an operation to its end.",
    ["kind"],
    buckets=_SLOW_BUCKETS,
)
STEP_DURATION = Histogram(
    "storefleet_step_seconds",
    "Duration of steps.",
    ["kind", "step", "outcome"],
    buckets=_SLOW_BUCKETS,
)
RETRIES = Counter(
    "storefleet_retries", "Attempts that were scheduled after a transient failure.", ["kind"]
)
TAKEOVERS = Counter(
    "storefleet_takeovers", "Operations taken over from a worker whose lease expired.", ["kind"]
)
DEAD_LETTERS = Counter("storefleet_dead_letters", "Dead letters by reason.", ["reason"])
OUTBOX_LAG = Gauge("storefleet_outbox_lag_seconds", "Age of the oldest unpublished message.")
MESSAGES_PUBLISHED = Counter(
    "storefleet_messages_published", "Messages published by the relay.", ["kind"]
)
OUTBOX_ROWS_DROPPED = Counter(
    "storefleet_outbox_rows_dropped", "Outbox rows that can never be published.", ["kind"]
)
COMMAND_AGE = Histogram(
    "storefleet_command_age_seconds",
    "Time from the acceptance of an operation to its claim.",
    ["service"],
    buckets=(*_FAST_BUCKETS, 10, 30, 60),
)
OPERATIONS_REDISPATCHED = Counter(
    "storefleet_operations_redispatched",
    "Operations that the reaper's scan dispatched again, by reason.",
    ["reason"],
)
OPEN_WEBSOCKETS = Gauge("storefleet_websockets", "Open websockets.")
WEBSOCKETS_CLOSED_SLOW = Counter(
    "storefleet_websockets_closed_slow", "Websockets closed because the client read too slowly."
)
EVENTS_SENT = Counter("storefleet_events_sent", "Events written to websockets.")

CRON_CALLS = Counter("storefleet_cron_calls", "Cron calls of stores, by outcome.", ["outcome"])
CRON_CALL_DURATION = Histogram(
    "storefleet_cron_call_duration_seconds", "Duration of cron calls.", buckets=_SLOW_BUCKETS
)
CRON_CALL_LAG = Gauge(
    "storefleet_cron_call_lag_seconds", "Longest delay of a cron call that the last scan found due."
)
STOREFRONTS = Gauge(
    "storefleet_storefronts", "Ready stores by the observed class of their storefront.", ["class"]
)
STOREFRONT_CHECK_DURATION = Histogram(
    "storefleet_storefront_check_duration_seconds",
    "Duration of storefront checks, by the class that they observed.",
    ["class"],
    buckets=(*_FAST_BUCKETS, 10, 20),
)
STOREFRONT_CHECK_LAG = Gauge(
    "storefleet_storefront_check_lag_seconds",
    "Longest delay of a storefront check that the last scan found due.",
)

KUBERNETES_REQUESTS = Counter(
    "storefleet_kubernetes_requests",
    "Requests to the Kubernetes API, except those of Helm.",
    ["verb", "resource", "status"],
)

for _outcome in ("answered", "closed", "refused", "timeout", "unavailable", "failed"):
    CRON_CALLS.labels(_outcome)
for _state in StoreState:
    STORES_BY_STATE.labels(_state)
for _class in StorefrontClass:
    STOREFRONTS.labels(_class)
    STOREFRONT_CHECK_DURATION.labels(_class)
