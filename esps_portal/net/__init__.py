"""Bytes over trio: streams, datagrams, accepting, the reserved port, faults performed.

Nothing here knows ESPS/1: what serves a connection or a datagram is handed in.

- Ports: `bind` opens the sockets, or `systemd` hands them over; `port_tasks` serves them,
  `port_control` and `port_sockets` take them out of service and back, `silence` lets nothing pass,
  `listeners` says where they are. `serving` puts it together for any protocol.
- Accepting: `acceptor`, within an `accept_policy`, for a `connection_server`, which watches over
  open connections; `refusals` turns others away, and `descriptors` keeps a spare one for that.
- One connection: a `stream`, over TCP a `socket_stream`, with `tls` after a `handshake`
  (`opening`); with a `writer`, or a `fault_writer` where faults strike. `announced` reads the
  client's address that a balancer names. `client_handler` begins those of any protocol, and
  `age_watch` strikes them.
- Many connections: `ready_set` serves those that need no task, with a `poller`; `turns` shares the
  loop; `buffered_bytes` and `input_limit` bound what they hold.
- A relayed connection: `dial`, an `endpoint` for each side, a `lane` towards it, `stream_ends`.
- UDP: `datagram_socket` reads, `fair_queue` orders, `datagram_clients` remembers,
  `datagram_fault_writer` sends.
- `systems` has what differs from kernel to kernel, `fork` what a forked child must not keep.
"""
