"""Talks to an echo over WebSocket at the URL given, and says "ok" when all was as it should be."""

import asyncio
import os
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


async def main(url):
    # Small and large, text and binary, in fragments, and a ping between them.
    async with connect(url, max_size=None) as connection:
        for message in ["hello", "", "ü" * 70_000, b"", os.urandom(125), os.urandom(5 << 20)]:
            await connection.send(message)
            assert await connection.recv() == message, len(message)
        await connection.send(["a", "b", "c" * 100_000])
        assert await connection.recv() == "ab" + "c" * 100_000
        await asyncio.wait_for(await connection.ping(), 10)

        # Many at once, both ways.
        async def send():
            for number in range(2_000):
                await connection.send(str(number) * (number % 50))

        sending = asyncio.create_task(send())
        for number in range(2_000):
            assert await connection.recv() == str(number) * (number % 50)
        await sending
    assert connection.close_code == 1000, connection.close_code

    # A close of the server's.
    async with connect(url) as connection:
        await connection.send("close")
        try:
            await connection.recv()
            raise AssertionError("it goes on")
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "asked"), closed

    # Many connections.
    async def one(number):
        async with connect(url) as connection:
            await connection.send(f"I am {number}")
            assert await connection.recv() == f"I am {number}"

    await asyncio.gather(*(one(number) for number in range(50)))
    print("ok")


asyncio.run(main(sys.argv[1]))
