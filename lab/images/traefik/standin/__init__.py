"""A stand-in for Traefik v3: routes by files and by the labels of running containers, with TLS from the simulated
Let's Encrypt.

It reads what our stacks and Coolify use: rules of Host and PathPrefix, entry points, TLS, the middlewares that redirect
to https, and services with a port. What it does not know is refused in the log and its router is not served, as there.
Each connection carries one request.
Sources: https://doc.traefik.io/traefik/v3.6/routing/providers/docker/, https://doc.traefik.io/traefik/v3.6/reference/
"""
