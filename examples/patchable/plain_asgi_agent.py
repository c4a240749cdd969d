"""The same without a framework, and without a model: `uvicorn plain_asgi_agent:app`."""

from servicing_sdk import Servicing

servicing = Servicing()


async def agent(scope: dict, receive: object, send: object) -> None:
    said = servicing.config.get("greeting", "Hello").encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": said})


app = servicing.mount(agent)
