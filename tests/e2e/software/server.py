"""The applications that gunicorn (`server:wsgi`) and uvicorn (`server:asgi`) serve."""

import hashlib

BLOCK = bytes(i % 251 for i in range(251 * 256))


def pieces(n):
    while n > 0:
        yield BLOCK[:n]
        n -= len(BLOCK)


def wsgi(environ, start_response):
    _, what, *rest = environ["PATH_INFO"].split("/")
    if what == "sha":
        sum = hashlib.sha256()
        while part := environ["wsgi.input"].read(1 << 16):
            sum.update(part)
        start_response("200 OK", [])
        return [sum.hexdigest().encode()]
    n = int(rest[0])
    start_response("200 OK", [("Content-Length", str(n))] if what == "bytes" else [])
    return pieces(n)


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    _, what, *rest = scope["path"].split("/")
    if what == "sha":
        sum = hashlib.sha256()
        more = True
        while more:
            message = await receive()
            sum.update(message.get("body", b""))
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": sum.hexdigest().encode()})
        return
    n = int(rest[0])
    headers = [(b"content-length", str(n).encode())] if what == "bytes" else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for piece in pieces(n):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
