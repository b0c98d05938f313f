"""A shop's assistant with two tools of its own: one looks up an order, one pays money back.

loopwright run examples/shop.py "where is my order A-1042"
"""

from decimal import Decimal

from loopwright import Agent, Limits, ToolError, tool

STATUS = {"A-1042": "shipped, arrives tomorrow", "A-1043": "delivered", "A-1044": "waiting for payment"}
PAID = {"A-1042": Decimal("49.90"), "A-1043": Decimal("120.00"), "A-1044": Decimal("0.00")}
"""What the customer has paid and not got back, in EUR."""


@tool(effect="read")  # free to repeat: it changes nothing
def order_status(order_id: str) -> str:
    """Return the status of an order and what was paid for it.

    Args:
        order_id: Number of the order, e.g. A-1042.
    """
    _check(order_id)
    return f"{STATUS[order_id]}; paid {PAID[order_id]} EUR"


@tool(effect="once")  # never repeated, whatever crashes; this is also the default
def refund_order(order_id: str, amount: Decimal) -> str:
    """Pay money back to the customer of an order.

    Args:
        order_id: Number of the order, e.g. A-1042.
        amount: Amount in EUR.
    """
    _check(order_id)
    if not 0 < amount <= PAID[order_id]:  # the model reads this sentence and may correct itself
        raise ToolError(f"amount must be above 0 and at most {PAID[order_id]} EUR")
    PAID[order_id] -= amount
    return f"refunded {amount} EUR of order {order_id}"


def _check(order_id: str) -> None:
    if order_id not in STATUS:
        raise ToolError(f"there is no order {order_id!r}; orders look like A-1042")


shop = Agent(
    name="shop",
    instructions="Help a customer of the shop with their orders. Refund only what the customer asks for.",
    tools=[order_status, refund_order],
    limits=Limits(max_steps=6, max_tool_calls=4, deadline_s=60),
)
