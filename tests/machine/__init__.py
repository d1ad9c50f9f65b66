"""The disposable test machine: a booted copy of this computer that forgets everything when closed.

`machine.caches` names what may stay on the host (virtualenvs, node modules), `machine.prepare`
installs and builds all that is needed, `machine.machine.Machine` boots, `machine.hub.Hub` is a real
JupyterHub inside it, and `machine.demo` shows the whole.
"""
