"""A feed of real sales: rows of a data set become the files that a shop and a warehouse would write (`build`)."""
