"""JupyterHub's configuration in the container."""

c = get_config()  # noqa: F821
c.JupyterHub.bind_url = "http://:8000"
c.JupyterHub.spawner_class = "sudo"
c.SudoSpawner.sudospawner_path = "/opt/jupyterhub/bin/sudospawner"
c.LocalAuthenticator.allowed_groups = {"jupyterhub"}
