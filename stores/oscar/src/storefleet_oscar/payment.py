"""Texts of cash on delivery, as stored in the database and shown on Oscar's dashboard."""

PAYMENT_METHOD = "Cash on delivery"
#: Event types of the order's history. The checkout adds the first; the owner adds the second.
DUE_EVENT = "Due on delivery"
PAID_EVENT = "Paid"
