#!/usr/bin/env python3
"""A gRPC server (PyPI grpcio) in cleartext: prints its port, serves until stopped.

Messages are plain bytes, so that no code is generated.
"""

from concurrent import futures

import grpc

SERVICE = "sealtap.test.Echo"


def once(message, context):
    context.set_trailing_metadata((("answered", "once"),))
    return message


def many(message, context):
    for number in range(20):
        yield bytes([number]) + message


def gathered(messages, context):
    return b"|".join(messages)


def both(messages, context):
    for message in messages:
        yield message[::-1]


def refuse(message, context):
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such thing: 100 % of Z\u00fcrich")


def main():
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {
        "Once": grpc.unary_unary_rpc_method_handler(once),
        "Many": grpc.unary_stream_rpc_method_handler(many),
        "Gathered": grpc.stream_unary_rpc_method_handler(gathered),
        "Both": grpc.stream_stream_rpc_method_handler(both),
        "Refuse": grpc.unary_unary_rpc_method_handler(refuse)})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


main()
