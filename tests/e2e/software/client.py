"""A client in Python: `client.py requests|httpx|aiohttp URL BYTES get|all`. Prints ok."""

import asyncio
import hashlib
import sys

library, url, size, what = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
BLOCK = bytes(i % 251 for i in range(251 * 256))


def pieces(n):
    while n > 0:
        yield BLOCK[:n]
        n -= len(BLOCK)


async def pieces_async(n):
    for piece in pieces(n):
        yield piece


def sha(parts):
    sum = hashlib.sha256()
    for part in parts:
        sum.update(part)
    return sum.hexdigest()


def with_requests():
    import requests

    session = requests.Session()

    def get(path, n):
        with session.get(url + path, stream=True) as response:
            assert response.status_code == 200, response
            assert sha(response.iter_content(1 << 16)) == sha(pieces(n)), path

    def post(body):
        response = session.post(url + "/sha", data=body)
        assert response.text == sha(pieces(size)), response

    for _ in range(10):
        get("/bytes/1000", 1000)
    get(f"/bytes/{size}", size)
    if what == "all":
        get(f"/stream/{size}", size)
        post(b"".join(pieces(size)))
        post(pieces(size))
        assert session.head(url + "/bytes/1000").headers["content-length"] == "1000"


def with_httpx():
    import httpx

    with httpx.Client(timeout=60) as client:

        def get(path, n):
            with client.stream("GET", url + path) as response:
                assert response.status_code == 200, response
                assert sha(response.iter_bytes()) == sha(pieces(n)), path

        def post(body):
            assert client.post(url + "/sha", content=body).text == sha(pieces(size))

        for _ in range(10):
            get("/bytes/1000", 1000)
        get(f"/bytes/{size}", size)
        if what == "all":
            get(f"/stream/{size}", size)
            post(b"".join(pieces(size)))
            post(pieces(size))


async def with_aiohttp():
    import aiohttp

    async with aiohttp.ClientSession() as session:

        async def get(path, n):
            sum = hashlib.sha256()
            async with session.get(url + path) as response:
                assert response.status == 200, response
                async for part in response.content.iter_any():
                    sum.update(part)
            assert sum.hexdigest() == sha(pieces(n)), path

        async def post(body, **more):
            async with session.post(url + "/sha", data=body, **more) as response:
                assert await response.text() == sha(pieces(size))

        await asyncio.gather(*(get("/bytes/1000", 1000) for _ in range(10)))
        await get(f"/bytes/{size}", size)
        if what == "all":
            await get(f"/stream/{size}", size)
            await post(b"".join(pieces(size)))
            await post(pieces_async(size))
            await post(pieces_async(size), expect100=True)


if library == "aiohttp":
    asyncio.run(with_aiohttp())
else:
    {"requests": with_requests, "httpx": with_httpx}[library]()
print("ok")
