"""What is counted and measured; every name is declared here so that it exists before the first event."""

from prometheus_client import Counter, Gauge, Histogram

from storefleet.core.models import STORE_STATES

_FAST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SLOW_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600)

HTTP_REQUESTS = Counter(
    "storefleet_http_requests", "HTTP requests", ["service", "method", "route", "status"]
)
HTTP_REQUEST_DURATION = Histogram(
    "storefleet_http_request_seconds", "HTTP request time", ["service"], buckets=_FAST_BUCKETS
)
ADMISSIONS = Counter("storefleet_admissions", "Create requests by outcome", ["outcome"])
STORES_BY_STATE = Gauge("storefleet_stores", "Stores by state", ["state"])
OPERATIONS_ENDED = Counter("storefleet_operations", "Ended operations", ["kind", "outcome"])
OPERATION_DURATION = Histogram(
    "storefleet_operation_seconds", "Acceptance to end", ["kind"], buckets=_SLOW_BUCKETS
)
STEP_DURATION = Histogram(
    "storefleet_step_seconds", "Step time", ["kind", "step", "outcome"], buckets=_SLOW_BUCKETS
)
RETRIES = Counter("storefleet_retries", "Attempts after a transient failure", ["kind"])
TAKEOVERS = Counter("storefleet_takeovers", "Operations taken over from a silent worker", ["kind"])
DEAD_LETTERS = Counter("storefleet_dead_letters", "Dead letters", ["reason"])
OUTBOX_LAG = Gauge("storefleet_outbox_lag_seconds", "Age of the oldest row that is not published")
MESSAGES_PUBLISHED = Counter("storefleet_published", "Messages published by the relay", ["kind"])
OUTBOX_ROWS_DROPPED = Counter(
    "storefleet_relay_rows_dropped", "Rows of the outbox that can never be published", ["kind"]
)
COMMAND_AGE = Histogram(
    "storefleet_command_age_seconds",
    "Acceptance to claim",
    ["service"],
    buckets=(*_FAST_BUCKETS, 10, 30, 60),
)
OPERATIONS_REDISPATCHED = Counter(
    "storefleet_reannounced", "Operations the reaper's scan announced again", ["finding"]
)
OPEN_WEBSOCKETS = Gauge("storefleet_sockets", "Open websockets")
WEBSOCKETS_CLOSED_SLOW = Counter(
    "storefleet_sockets_cut", "Websockets cut off for reading too slowly"
)
EVENTS_SENT = Counter("storefleet_events_sent", "Event frames written to websockets")

CRON_CALLS = Counter("storefleet_ticks", "Stores asked for what they do by time", ["outcome"])
CRON_CALL_DURATION = Histogram(
    "storefleet_tick_seconds", "Time of such a request", buckets=_SLOW_BUCKETS
)
CRON_CALL_LAG = Gauge(
    "storefleet_tick_lag_seconds", "How late the latest of the last look's stores was asked"
)
for _outcome in ("answered", "refused", "timeout", "away", "failed"):
    CRON_CALLS.labels(_outcome)

KUBERNETES_REQUESTS = Counter(
    "storefleet_cluster_requests",
    "Requests to the Kubernetes API, without Helm's",
    ["verb", "resource", "status"],
)

for _state in STORE_STATES:
    STORES_BY_STATE.labels(_state)
