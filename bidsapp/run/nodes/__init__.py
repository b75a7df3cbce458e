"""nipype nodes: load, call one function of the models or of imaging, save."""
