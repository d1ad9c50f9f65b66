"""`docs/tljh.md`, on a machine with the accounts, groups and folders of The Littlest JupyterHub.

The tests are the page's sections in their order: each needs those before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from machine.catalogue import cache_named
from machine.installation import REPOSITORY
from machine.machine import Machine
from system.conftest import install_what_is_tested
from system.how_to import Section, read_sections, run_section
from system.mediator import SERVER

PAGE = read_sections(REPOSITORY / "docs/tljh.md")
SECRET = "of-the-cookies"

# What its installer and its Hub leave (tljh/installer.py, tljh/user.py), with environments of ours.
BEFORE = """
userdel --remove rhea 2>/dev/null
userdel --remove zoe 2>/dev/null
userdel --remove wash 2>/dev/null
userdel nohome
groupdel jupyterhub
set -e
groupadd jupyterhub-admins
groupadd jupyterhub-users
echo '%jupyterhub-admins ALL = (ALL) NOPASSWD: ALL' >/etc/sudoers.d/jupyterhub-admins
for name in zoe wash; do
    useradd --create-home jupyter-$name
    chmod o-rwx /home/jupyter-$name
    gpasswd --add jupyter-$name jupyterhub-users
    echo "of $name" >/home/jupyter-$name/notes
    chown jupyter-$name: /home/jupyter-$name/notes
done
gpasswd --add jupyter-zoe jupyterhub-admins
for unit in jupyterhub traefik; do
    printf '[Service]\\nExecStart=sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' \
        >/etc/systemd/system/$unit.service
done
systemctl enable --now jupyterhub traefik
mkdir -p /opt/tljh/state /opt/tljh/hub /opt/tljh/user
"""


@pytest.fixture(scope="module")
def littlest() -> Iterator[Machine]:
    """The machine, whose only environment is at the places of both of TLJH's."""
    hub6 = cache_named("hub6")
    with Machine() as machine:
        install_what_is_tested(machine, hub6)
        machine.run(BEFORE)
        machine.write("/opt/tljh/state/jupyterhub_cookie_secret", SECRET)
        for place in ("hub", "user"):
            machine.run(["mount", "--bind", hub6.path, f"/opt/tljh/{place}"])
        yield machine


@pytest.mark.parametrize("section", PAGE, ids=lambda section: section.heading)
def test_the_commands_do_what_the_page_says(littlest: Machine, section: Section) -> None:
    run_section(section, littlest, env={})


def test_accounts_keep_their_homes_and_have_their_names_in_the_hub(littlest: Machine) -> None:
    for name in ("zoe", "wash"):
        seen = littlest.run(["cat", f"/home/{name}/notes"], user=name).stdout
        groups = littlest.run(["id", "-Gn", name]).stdout
        assert (seen, groups) == (f"of {name}\n", f"{name} jupyterhub\n")
    secret = "/var/lib/jupyterhub/jupyterhub_cookie_secret"
    assert littlest.run(["cat", secret], user="rhea").stdout == SECRET
    units = ["systemctl", "is-active", "jupyterhub", "traefik"]
    assert littlest.run(units, check=False).stdout == "inactive\ninactive\n"


@pytest.mark.parametrize("name", ["zoe", "simon"])
def test_old_and_new_users_have_servers_from_the_environment_of_users(
    littlest: Machine, name: str
) -> None:
    littlest.write("/opt/tljh/user/bin/sudospawner-singleuser", SERVER.read_text(), mode=0o755)
    file = f"/home/{name}/seen.json"
    request = {"action": "spawn", "args": ["report", file], "env": {"PATH": "/bin"}}
    words = ["sudo", "-nH", "/opt/tljh/hub/bin/sudospawner", f"--user={name}", "--action=spawn"]
    run = littlest.run(words, user="rhea", input=json.dumps(request))
    reply = json.loads(run.stdout)
    littlest.run(["systemctl", "stop", reply["unit"]])
    assert reply["unit"] == f"jupyter-{name}.service"
    assert reply["limits"] == {"memory": 2 << 30, "cpus": 2.0}
    env = json.loads(littlest.read(file))["env"]
    assert env["PATH"] == "/opt/tljh/user/bin:/bin"
    assert (env["HOME"], env["SHELL"]) == (f"/home/{name}", "/bin/bash")
    assert "jupyterhub" in littlest.run(["id", "-Gn", name]).stdout.split()
