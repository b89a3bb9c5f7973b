"""What is timed: our real programs and the peer's, behind one interface.

A contender is made once, says what it checked, and then runs steps on request. Each lives in a
process of its own (`benchmarks.rounds`), so that neither library's threads disturb the other's;
neither library is imported before one is made.
"""

from benchmarks.contenders.ours import OurEpochs, Ours
from benchmarks.contenders.peer import Peer, PeerEpochs

KINDS = {kind.__name__: kind for kind in (Ours, OurEpochs, Peer, PeerEpochs)}
