"""PyPI boto3, bedrock-runtime: converse and invoke, tools, event streams.

Signed with SigV4, which binds host and path. A base URL changes both, so behind one it uses what
Bedrock has for that: an API key.
"""

import json
import os

from cases import BASE, CITY, TOOL, WORDS, run

SIGNED = os.environ.get("BEDROCK_SIGNED", "1") == "1"
if SIGNED:
    os.environ.update(AWS_ACCESS_KEY_ID="AKIATEST", AWS_SECRET_ACCESS_KEY="test-secret")
else:
    # Without keys it would ask the machine for some first, and a proxy as well.
    os.environ.update(AWS_BEARER_TOKEN_BEDROCK="test-bedrock-token", AWS_EC2_METADATA_DISABLED="true")
import boto3
import botocore.exceptions

MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"
TOOLS = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": CITY}}}]}
client = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=BASE)


def asked(text):
    return {"modelId": MODEL, "messages": [{"role": "user", "content": [{"text": text}]}]}


def content(answer):
    answer.pop("ResponseMetadata")
    return answer


def converse():
    return content(client.converse(**asked(WORDS), system=[{"text": "Be brief."}]))


def converse_stream():
    return list(client.converse_stream(**asked(WORDS))["stream"])


def tools():
    return content(client.converse(**asked(TOOL), toolConfig=TOOLS))


def tools_stream():
    return list(client.converse_stream(**asked(TOOL), toolConfig=TOOLS)["stream"])


def invoke():
    body = json.dumps({"prompt": WORDS, "n": 9007199254740993})
    answer = client.invoke_model(modelId=MODEL, body=body, contentType="application/json")
    return json.loads(answer["body"].read())


def invoke_stream():
    answer = client.invoke_model_with_response_stream(modelId=MODEL, body=b'{"prompt":"x"}')
    return [event["chunk"]["bytes"] for event in answer["body"]]


def wrong_secret():
    other = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=BASE,
                         aws_access_key_id="AKIATEST", aws_secret_access_key="another")
    try:
        return content(other.converse(**asked(WORDS)))
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]


run(converse, converse_stream, tools, tools_stream, invoke, invoke_stream,
    *([wrong_secret] if SIGNED else []))
