async def test_way(world):
    await world.start()
    async with world.listener() as heard:
        store = await world.api.ready("acme")
        await heard.heard("store.ready")
        a = await world.api.delete("/stores/acme")
        await world.api.ended(a.body["operation"]["id"])
        await heard.heard("store.deleted")
        print(heard.types())
async def test_way2(world):
    await test_way(world)
