"""TLS of devices' connections: certificates that change while sessions live, and a transport between a TCP connection and a link.

Python's own ways (`create_server(ssl=…)`, `start_tls`) keep two pipes, a buffer and several objects for each connection, and read a flood
without giving others a turn. Here a session keeps OpenSSL's object and a few words; `docs/tls.md` has the figures.
"""
