"""The checks a gate can make, one kind per module.

Each is a pure function of its policy, the evidence and the time, and gives one result per thing it looked at.
``latch`` and ``artifact`` are always made; a policy neither names nor disables them.
"""
