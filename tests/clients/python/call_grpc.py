"""PyPI grpcio: the four kinds of calls, trailers, an error."""

import os
from urllib.parse import urlsplit

import grpc
from cases import BASE, digest, pattern, run

SERVICE = "/sealtap.test.Echo/"
parts = urlsplit(BASE)
if parts.scheme == "https":
    roots = open(os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"], "rb").read()
    channel = grpc.secure_channel(parts.netloc, grpc.ssl_channel_credentials(roots))
else:
    channel = grpc.insecure_channel(parts.netloc)


def once():
    answer, call = channel.unary_unary(f"{SERVICE}Once").with_call(
        pattern(100_000), metadata=(("name", "value"), ("raw-bin", b"\0\xff")), timeout=20)
    return [digest(answer), call.trailing_metadata()]


def many():
    return [list(item) for item in channel.unary_stream(f"{SERVICE}Many")(b"abc", timeout=20)]


def gathered():
    return digest(channel.stream_unary(f"{SERVICE}Gathered")(
        iter([pattern(size) for size in (1, 50_000, 7)]), timeout=20))


def both():
    answers = channel.stream_stream(f"{SERVICE}Both")(iter([b"abc", b"", b"xyz"]), timeout=20)
    return [list(item) for item in answers]


def refuse():
    try:
        return list(channel.unary_unary(f"{SERVICE}Refuse")(b"", timeout=20))
    except grpc.RpcError as error:
        return [error.code().name, error.details()]


run(once, many, gathered, both, refuse)
