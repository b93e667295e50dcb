"""An echo over WebSocket. Says on which port it listens, and closes with 4001 when asked to."""

import asyncio

from websockets.asyncio.server import serve


async def echo(connection):
    async for message in connection:
        if message == "close":
            await connection.close(4001, "asked")
            return
        await connection.send(message)


async def main():
    async with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
