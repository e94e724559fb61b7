"""How to read the one node of a profile: it is no overhead, and its layers are all of the network's."""

from qedeploy.runtimes.node_names import NodeNames

NODE_NAMES = NodeNames(overheads={}, edges=())
