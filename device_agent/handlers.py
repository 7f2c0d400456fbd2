"""Methods of a service, registered by hand.

The registration that the generator writes lets an undecodable request end as UNKNOWN, with a
traceback in the log; here it is INVALID_ARGUMENT, like every other request that makes no sense.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

Request = TypeVar("Request", bound=Message)
Method = Callable[[Request, grpc.aio.ServicerContext[Any, Any]], Awaitable[Any]]


def service(name: str, **methods: grpc.RpcMethodHandler[Any, Any]) -> grpc.GenericRpcHandler:
    """A service of this full name."""
    return grpc.method_handlers_generic_handler(name, methods)


def unary(method: Method[Request], request: type[Request]) -> grpc.RpcMethodHandler[Any, Any]:
    """A method that answers with the message that it returns."""
    return grpc.unary_unary_rpc_method_handler(
        _decoding(method, request), response_serializer=_encode
    )


def stream(method: Method[Request], request: type[Request]) -> grpc.RpcMethodHandler[Any, Any]:
    """A method that writes its answers to its context."""
    return grpc.unary_stream_rpc_method_handler(
        _decoding(method, request), response_serializer=_encode
    )


def _encode(message: Message) -> bytes:
    return message.SerializeToString()


def _decoding(method: Method[Request], kind: type[Request]) -> Any:
    async def decode_and_call(data: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        request = kind()
        try:
            request.ParseFromString(data)
        except DecodeError:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"not a {kind.DESCRIPTOR.full_name}"
            )
        return await method(request, context)

    return decode_and_call
