"""One image registered to another, with the error that is to be expected."""
