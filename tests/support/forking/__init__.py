"""`python -m MODULE` without a new interpreter each time: forked from a process that has imported what it will need.

A service's imports cost more than a second of CPU, which was most of what the tests took. Each process is one of its
own all the same: its own memory, pid, signals and exit status, to be stopped, frozen and killed like any other.
"""
