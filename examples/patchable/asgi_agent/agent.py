"""A plain ASGI agent, without any framework, whose configuration changes while it runs."""

from servicing_sdk import Servicing

servicing = Servicing()


async def plain(scope, receive, send):
    if scope["type"] == "http":
        body = f"{servicing.config.get('greeting', 'Hello')}, world!".encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})


app = servicing.mount(plain)
