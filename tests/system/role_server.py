"""A bucket at Amazon's address, and the address at which its machines learn what their role is.

    python role_server.py CERTIFICATE KEY

Prints a line when it serves: the bucket shared-data has the file `notes`. moto is the bucket, for
whoever has the keys of the role.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

ROLES = "/latest/meta-data/iam/security-credentials/"
KEYS = {
    "AccessKeyId": "ASIAROLE",
    "SecretAccessKey": "secret",
    "Token": "token",
    "Expiration": "2099-01-01T00:00:00Z",
}
certificate, key = sys.argv[1:]


class Metadata(BaseHTTPRequestHandler):
    """The answers of a machine of Amazon's about itself."""

    def do_PUT(self) -> None:
        """Give whoever asks a token for further questions."""
        self.answer("token")

    def do_GET(self) -> None:
        """Name the role, and give its keys."""
        self.answer("reader" if self.path == ROLES else json.dumps(KEYS))

    def answer(self, text: str) -> None:
        """Send a text."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


metadata = ThreadingHTTPServer(("169.254.169.254", 80), Metadata)
threading.Thread(target=metadata.serve_forever).start()
application = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 443, application, threaded=True, ssl_context=(certificate, key))
serving = threading.Thread(target=server.serve_forever)
serving.start()
keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
s3 = boto3.client("s3", endpoint_url="https://s3.amazonaws.com", verify=certificate, **keys)
s3.create_bucket(Bucket="shared-data")
s3.put_object(Bucket="shared-data", Key="notes", Body=b"for all")
print("serving", flush=True)
serving.join()
