"""The programs that are timed, ours and the peer's, behind one interface.

A contender is made once, describes itself in ``info``, and then runs steps on request. Each lives
in a process of its own (`benchmarks.rounds`), so that the threads of one library do not disturb the
other's. Neither library is imported before a contender is made.
"""

from benchmarks.contenders.ours import OurEpochs, Ours
from benchmarks.contenders.peer import Peer, PeerEpochs

KINDS = {kind.__name__: kind for kind in (Ours, OurEpochs, Peer, PeerEpochs)}
