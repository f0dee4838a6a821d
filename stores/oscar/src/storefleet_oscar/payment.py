"""The words of cash on delivery, as they stand in the database and on the dashboard."""

METHOD = "Cash on delivery"
#: Event types of the order's history: the first comes with the order, the second is for the owner to add.
DUE = "Due on delivery"
PAID = "Paid"
