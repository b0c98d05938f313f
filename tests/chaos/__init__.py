"""Promises under attack: real processes are killed, stopped and cut off, and what is left is counted from outside."""
