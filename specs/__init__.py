"""What is to be on a host, as plain data: the blueprint makes it, and operations take it.

Nothing here knows pyinfra, a declaration or a host. A value that makes no sense is refused with a `ValueError`.
"""
