"""`python -m benchmarks.bare_api`: the least that an aiohttp handler can do to keep a batch.

It reads the body and publishes it as it is, persistent and mandatory, to a quorum queue of its own; after the confirm
it answers 202.
"""

import asyncio
import os

import aio_pika
import uvloop
from aiohttp import web

QUEUE = "benchmark.bare"
_LARGEST_BODY = 16 * 1024 * 1024


async def serve(amqp_url: str, port: int) -> None:
    """Serve until the process is ended."""
    connection = await aio_pika.connect(amqp_url)
    channel = await connection.channel(on_return_raises=True)
    await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})

    async def accept(request: web.Request) -> web.Response:
        body = await request.read()
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, QUEUE)
        return web.json_response({"success": True}, status=202)

    async def healthy(_request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application(client_max_size=_LARGEST_BODY)
    app.add_routes([web.post("/v1/batches", accept), web.get("/healthz", healthy)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(os.environ["SMS_AMQP_URL"], int(os.environ["SMS_API_PORT"])))
