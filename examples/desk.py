"""A desk assistant that works with built-in tools alone: sums, units, dates and time zones.

loopwright run examples/desk.py "how many km are 12 miles"
"""

from loopwright import Agent
from loopwright.tools.builtin import (
    calculate,
    convert_time_zone,
    convert_units,
    current_time,
    date_difference,
    shift_date,
)

desk = Agent(
    name="desk",
    instructions="Answer the question. Use the tools for every calculation; never work out a number yourself.",
    tools=[calculate, convert_units, current_time, shift_date, date_difference, convert_time_zone],
)
