"""nipype nodes: load files, call one function of `models` or `imaging`, save the results."""
