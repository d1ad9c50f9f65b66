"""The disposable test machine: a booted copy of this computer that forgets everything when closed.

`machine.caches` lists what stays on the host (virtualenvs, node modules), `machine.prepare`
installs and builds everything, `machine.machine.Machine` boots the machine, `machine.hub.Hub` is a
real JupyterHub inside it, and `machine.demo` shows them together. `machine.beginning` is how each
process of the tests begins.
"""
