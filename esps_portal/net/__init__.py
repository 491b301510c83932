"""Bytes and datagrams over trio: binding, accepting, streams, TLS, UDP, and performing faults.

Nothing here knows ESPS/1. The caller supplies what serves a connection or a datagram.

- Ports: `bind` opens the sockets, or `systemd` passes them in. `port_tasks` serves them, under
  `port_control`; a `port_outage`, with `port_sockets`, takes them out of service and back. While a
  `silence` is on, nothing passes. `listeners` reports the addresses. `serving` combines all of this
  for proxies and peers.
- Accepting: an `acceptor` accepts for a `connection_server`, which keeps the open connections,
  within an `accept_policy`. `refusals` turns away what there is no room for; `descriptors` keeps a
  spare descriptor for that.
- One connection: a `stream`; over TCP it is a `socket_stream`, with `tls` after a `handshake`;
  `tls_errors` says what went wrong with that.
  A `writer` sends, or a `fault_writer` where faults strike, with a `pacer` for its pauses.
  `proxy_header_reader` reads the client's address that a load balancer sends, in a `proxy_header`.
  `client_handler` is what connections of any protocol have in common. `age_watch` strikes
  connections that reach an age.
- Many connections: a `ready_set` serves those that need no task, with a `poller`. `turns` divides
  the time of the loop; `buffered_bytes` and `input_limit` bound memory.
- A relayed connection: `dial` connects, each side is a `watched_stream`, a `lane` carries bytes
  towards it, and `stream_ends` ends both.
- UDP: `datagram_socket` reads, `fair_queue` orders, `datagram_clients` remembers the clients, and
  `datagram_fault_writer` performs faults. `datagram_port` combines these for a proxy or a peer.
- `systems` holds what differs between kernels; `fork` closes what a forked child must not keep.
"""
