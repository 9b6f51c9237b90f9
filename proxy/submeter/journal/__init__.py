"""The journal: append-only files, one directory per relay; what the relay writes and the meter reads.

record      START, FIRST or PROGRESS, FINISH, TALLY (``submeter.core.record``), and BEGAN of a new writer
segment     one file: a header, then frames of one record each (``format``)
lsn         a record's number within its instance, counting from 1 without holes; a copy keeps its number
instance    one life of a writer: a relay process, from start to death
boot        one life of the machine
writer      appends, acknowledges, and mends what a failing disk leaves behind (``writer``, ``durability``)
disk        the few system calls that may fail, replaceable in tests (``disk``)
reader      follows a directory that grows; damage is quarantined and counted, never skipped in silence (``reader``)
open calls  START met, FINISH not yet; what settles them (``open_calls``)

Each call to the writer is one ``write``. When it returns, its record outlives the process (``sync="os"``) or the
machine's power (``sync="disk"``). What makes that true is in ``writer``; what relies on it is in ``open_calls``.
"""
