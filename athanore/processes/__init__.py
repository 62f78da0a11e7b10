"""Supervision of processes: an agent's family, the reaper, and who a process is."""
