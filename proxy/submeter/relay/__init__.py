"""The data plane. START HERE: ``handler`` reads top to bottom as one request's way.

server    the caller's side of a connection: HTTP in, answers out, limits and deadlines
request   one request, whose body arrives
handler   one call: route, read, choose, ask the cache, journal, send, forward, settle
forward   the upstream's answer on its way to the caller, in the same turn of the loop
upstream  connections to one upstream: dialling, keeping, deadlines
tunnel    WebSockets and other upgrades: bytes both ways
replay    deterministic calls and the cache
flight    identical calls at one time are one upstream call; flight_calls says who leads and who follows,
          flight_answers what each is given, flight_shared how relays share one, flight_lookups their questions
passing   paths that are not metered
answers   what the relay answers itself
journalling  the journal as calls see it
relay     what the calls of one process share
process   one relay process: settings from its parent, a socket, signals, the sweep of deadlines
"""
