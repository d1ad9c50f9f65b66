"""The tests of the virtual machine: Debian's own kernel, with control groups and with SELinux."""
