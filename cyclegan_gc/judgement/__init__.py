"""The judgement of a synthetic CT without a true one: figures, and the verdict from them."""
