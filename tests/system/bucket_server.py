"""A server with a bucket for each account that is named, at https://s3.example.org.

    python bucket_server.py CERTIFICATE KEY ACCOUNT …

Prints a line for each account when it serves: the keys that may use the bucket data-ACCOUNT and no
other, as s3fs reads them. From then on moto checks the signature of each request.
"""

import json
import os
import sys
import threading
from urllib.parse import quote, urlencode

os.environ["S3_IGNORE_SUBDOMAIN_BUCKETNAME"] = "true"

import boto3
import flask
from moto import settings
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.responses import S3Response
from werkzeug.serving import make_server

ADDRESS = "https://s3.example.org"
certificate, key, *accounts = sys.argv[1:]
authenticate = S3Response._authenticate_and_authorize_s3_action


def authenticate_encoded(response: S3Response, *resource: str, **named: str) -> None:
    """Check the signature as S3 defines it, of the encoded query: s3fs sends `/`, signs `%2F`."""
    query = urlencode(list(flask.request.args.items(multi=True)), quote_via=quote, safe="")
    response.uri = f"{response.uri.partition('?')[0]}?{query}".removesuffix("?")
    authenticate(response, *resource, **named)


def make_bucket(account: str) -> str:
    """Make a bucket and the keys for it."""
    s3.create_bucket(Bucket=f"data-{account}")
    iam.create_user(UserName=account)
    bucket = f"arn:aws:s3:::data-{account}"
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": [bucket, f"{bucket}/*"]}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_user_policy(UserName=account, PolicyName="own", PolicyDocument=policy)
    keys = iam.create_access_key(UserName=account)["AccessKey"]
    return f"{keys['AccessKeyId']}:{keys['SecretAccessKey']}"


S3Response._authenticate_and_authorize_s3_action = authenticate_encoded
application = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 443, application, threaded=True, ssl_context=(certificate, key))
serving = threading.Thread(target=server.serve_forever)
serving.start()
anybody = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
s3 = boto3.client("s3", endpoint_url=ADDRESS, verify=certificate, **anybody)
iam = boto3.client("iam", endpoint_url=ADDRESS, verify=certificate, **anybody)
lines = [make_bucket(account) for account in accounts]
settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
print(*lines, sep="\n", flush=True)
serving.join()
