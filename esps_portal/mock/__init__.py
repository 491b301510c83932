"""What a test scripts: stubs, how they match, verification at the end, scenarios, replay.

- A portal: `scripted` puts the stubs of a `stub_registry` before its services, and adds faults and
  a journal; `matching` says which arguments a stub answers, `verification` what fails a test.
- A peer: `frame_script` has its `frame_stubs`, its handler, and conversations
  (`scripted_conversation`) of `peer_steps`. `answer_chain` is what the stubs of both share.
- A scenario: `scenario`, with plans of what is in one (`planned_fault`, `planned_proxy`,
  `planned_peer`), `scenario_reading` and `scenario_writing`. `server_names` are those of proxies
  and peers; `match_values`, `framing_values` and `answer_values` read and write what they share.
- `replay` and `frame_replay` make stubs of a recording. `never_struck` says why a fault did not.
"""
