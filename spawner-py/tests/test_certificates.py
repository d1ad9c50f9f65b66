"""With internal_ssl the request has the certificate, which is for the nodes of a cluster, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from certipy import Certipy
from cluster import DOWN, InJob
from conftest import RECORD, REPLY, UnderTest
from cryptography import x509
from tornado.web import HTTPError

PATHS = {
    "keyfile": "{files}/server.key",
    "certfile": "{files}/server.crt",
    "cafile": "{files}/authorities.crt",
}


@pytest.fixture
def certificates(tmp_path):
    """What a Hub gives its spawners, with an authority of its own for servers."""
    store = str(tmp_path / "internal-ssl")
    authority = Certipy(store_dir=store).create_ca("notebooks-ca")["files"]["cert"]
    return {
        "internal_ssl": True,
        "internal_certs_location": store,
        "internal_trust_bundles": {"notebooks-ca": authority},
    }


def read(path):
    """The text of a file."""
    return Path(path).read_text()


def list_names(paths):
    """The names in a certificate, in the order in which they are there."""
    certificate = x509.load_pem_x509_certificate(read(paths["certfile"]).encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


async def test_the_certificate_is_in_one_request_and_in_no_later_one(
    programs, make_spawner, child, certificates
):
    spawner = make_spawner(programs.write(RECORD + REPLY % child.pid), **certificates)
    paths = await spawner.create_certs()
    assert list_names(paths) == ["localhost", "127.0.0.1"]
    assert await spawner.move_certs(paths) == PATHS
    for _ in range(2):
        await spawner.start()
    first, second = programs.requests()
    assert first["files"] == {
        "server.key": read(paths["keyfile"]),
        "server.crt": read(paths["certfile"]),
        "authorities.crt": read(paths["cafile"]),
    }
    assert "files" not in second


async def test_a_subclass_may_have_a_way_of_its_own(programs, make_spawner, child, certificates):
    class Moving(UnderTest):
        async def move_certs(self, paths):
            return paths

    spawner = make_spawner(programs.write(RECORD + REPLY % child.pid), Moving, **certificates)
    await spawner.move_certs(PATHS)
    await spawner.start()
    assert "files" not in programs.requests()[0]


async def test_a_certificate_for_jobs_has_the_names_of_all_nodes(
    cluster, make_job_spawner, certificates
):
    spawner = make_job_spawner(**certificates, ssl_alt_names=["DNS:hub.example.org"])
    paths = await spawner.create_certs()
    own = ["localhost", "127.0.0.1", "hub.example.org"]
    assert list_names(paths) == [*own, "10.20.0.1", "node2", "fd00::3"]
    assert spawner.ssl_alt_names == ["DNS:hub.example.org"]
    await spawner.move_certs(paths)
    await spawner.start()
    assert set(cluster.requests("spawn")[0]["files"]) == {
        "server.key",
        "server.crt",
        "authorities.crt",
    }


async def test_without_an_answer_of_slurms_no_certificate_is_made(
    cluster, make_job_spawner, certificates
):
    cluster.say(nodes=DOWN)
    spawner = make_job_spawner(InJob, **certificates)
    with pytest.raises(HTTPError, match="Slurm does not name its nodes: The controller does not"):
        await spawner.create_certs()
