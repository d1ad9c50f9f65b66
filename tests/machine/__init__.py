"""The disposable test machine: Debian, booted, which forgets everything when it is closed.

`machine.caches` is how root file systems and tools are kept on the host, `machine.catalogue` lists
them, `machine.prepare` installs and builds everything, `machine.machine.Machine` boots the machine,
`machine.hub.Hub` is a real JupyterHub inside it, and `machine.demo` shows them together.
`machine.beginning` is how each process of the tests begins.
"""
