"""The platform shows what the owner of a WooCommerce store does with it."""

from tests.cluster_woocommerce.store import Store
from tests.support.services.polling import eventually

_SET_COMING_SOON = (
    "UPDATE wp_options SET option_value = '{}' WHERE option_name = 'woocommerce_coming_soon'"
)

_WEB = "app.kubernetes.io/component=web"


async def wait_for_observation(store: Store, storefront: str, cron: str = "calling") -> None:
    async def look() -> bool:
        observed = (await store.api.store(store.id))["observed"]
        assert (observed["storefront"], observed["cron"]) == (storefront, cron)
        return True

    await eventually(look, within=90, every=0.5)


async def test_class_follows_what_owner_does(store: Store) -> None:
    await eventually(lambda: _has_class(store, "serving"), within=15)
    await store.deployment.make_checks_due()
    await wait_for_observation(store, "serving")

    await store.query(_SET_COMING_SOON.format("yes"))
    await store.deployment.make_checks_due()
    await wait_for_observation(store, "closed_by_owner")

    await store.kubectl("scale", "deployment", "web", "--replicas=0")
    await store.kubectl("wait", "pods", "--for=delete", "--timeout=60s", "--selector=" + _WEB)
    await store.deployment.make_checks_due()
    await wait_for_observation(store, "down")

    await store.query(_SET_COMING_SOON.format("no"))
    await store.kubectl("scale", "deployment", "web", "--replicas=1")
    await store.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    await store.deployment.make_checks_due()
    await wait_for_observation(store, "serving")

    events = (await store.api.get(f"/stores/{store.id}/events?limit=100")).body["data"]
    seen = [
        event["data"]["store"]["observed"]["storefront"]
        for event in reversed(events)
        if event["type"] == "store.observed"
    ]
    changes = [one for one, before in zip(seen, [None, *seen], strict=False) if one != before]
    assert changes == ["serving", "closed_by_owner", "down", "serving"]


async def _has_class(store: Store, storefront: str) -> bool:
    observed = (await store.api.store(store.id))["observed"]
    return bool(observed["storefront"] == storefront)
